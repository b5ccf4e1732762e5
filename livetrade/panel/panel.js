// The live panel: draws the one dict described at the top of panel.py, and sends back {action: "halt" | "resume" | "flatten"}.
//
// It needs a model with get(name), on(event, callback), off(event, callback) and send(message): a notebook's widget model, or
// on a web page any small object with these four that keeps the parts of the latest snapshot (frames.py) and calls the
// callbacks of "change:snap". Such a page answers "page" to get("host"): its buttons do not wait for a kernel, it tells by
// itself when it hears nothing, and its send() may give a promise, false when the command was not done.
//
// The elements are made once. A paint only changes texts and attributes that differ, at most once per animation frame.

const UNKNOWN = "–";
const QUIET_SECONDS = 3;
const SILENT_SECONDS = 7; // a quiet engine is heard of every two
const ASKING_MS = 10000;
const DOUBLE_CLICK_MS = 250;
const WAITING_MS = 10000;
const SLOW_MS = 100;
const STALL_MS = 1000;
const NEAR = 0.1; // of the way between stop and target

// ---- numbers as text ------------------------------------------------------------------------------------------------

const formats = new Map();

function number(value, least, most = least, signDisplay = "negative") {
  if (!Number.isFinite(value)) return UNKNOWN;
  const key = `${least} ${most} ${signDisplay}`;
  if (!formats.has(key)) {
    const digits = { minimumFractionDigits: least, maximumFractionDigits: Math.max(least, most) };
    formats.set(key, new Intl.NumberFormat("en-US", { ...digits, signDisplay }));
  }
  return formats.get(key).format(value);
}

const money = (value) => number(value, 2);
const brief = (value, signs) => number(value, Math.abs(value) < 1e6 ? 2 : 0, 0, signs); // where room is scarce
const whole = (value) => number(value, 0);
const percent = (value) => (Number.isFinite(value) ? `${number(value, 2, 2, "exceptZero")}%` : UNKNOWN);

function milliseconds(value) {
  if (!Number.isFinite(value)) return UNKNOWN;
  return value < 0.1 ? "<0.1 ms" : `${number(value, value < 10 ? 1 : 0)} ms`;
}

const price = (value, { price_decimals: decimals = 2 }) => number(value, Math.min(2, decimals), decimals);
const quantity = (value, { quantity_decimals: decimals = 0 }) => number(value, 0, decimals);

function age(seconds) {
  if (!Number.isFinite(seconds)) return UNKNOWN;
  if (seconds < 1) return "now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  return seconds < 86400 ? `${Math.floor(seconds / 3600)} h ago` : `${Math.floor(seconds / 86400)} d ago`;
}

const clocks = new Map();

function clockOf(zone, terms) {
  const key = `${zone} ${Object.keys(terms)}`;
  if (!clocks.has(key)) clocks.set(key, new Intl.DateTimeFormat("en-GB", { timeZone: zone, timeStyle: "medium", ...terms }));
  return clocks.get(key);
}

// In the engine's time zone, as its DataFrames are.
const timeOf = (snap, epochMs) => (Number.isFinite(epochMs) ? clockOf(snap.timezone, {}).format(epochMs) : UNKNOWN);
const momentOf = (snap) => (Number.isFinite(snap.as_of) ? clockOf(snap.timezone, { dateStyle: "medium" }).format(snap.as_of) : UNKNOWN);

const words = (name) => (name ?? "").toLowerCase().replaceAll("_", " ");
const count = (amount, noun) => `${whole(amount)} ${noun}${amount === 1 ? "" : "s"}`;

// What rounds to zero is neither gain nor loss.
function tone(value) {
  if (!Number.isFinite(value) || Math.abs(value) < 0.005) return "flat";
  return value > 0 ? "gain" : "loss";
}

// ---- elements -------------------------------------------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg";

function make(tag, attributes = {}, ...children) {
  const isDrawing = ["svg", "path", "line"].includes(tag);
  const node = isDrawing ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Notebooks have keys of their own (X cuts a cell): those pressed on such an element stay in the panel.
const OWN_KEYS = { "data-lm-suppress-shortcuts": "true" };

const setText = (node, text) => { if (node.textContent !== text) node.textContent = text; };
const setHidden = (node, hidden) => { if (node.hidden !== hidden) node.hidden = hidden; };
const setDisabled = (node, disabled) => { if (node.disabled !== disabled) node.disabled = disabled; };

function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

function setAmount(node, value) {
  setText(node, money(value));
  setAttribute(node, "data-tone", tone(value));
}

// Children by key, made by `create(key)`, kept while their key is there, and in the order of `items`.
function createChildren(parent, create) {
  const known = new Map();
  function paint(items, keyOf, ...rest) {
    const keys = new Set(items.map(keyOf));
    for (const [key, child] of known) {
      if (keys.has(key)) continue;
      child.el.remove();
      known.delete(key);
    }
    items.forEach((item, at) => {
      const key = keyOf(item);
      if (!known.has(key)) known.set(key, create(key));
      const child = known.get(key);
      child.paint(item, ...rest);
      if (parent.children[at] !== child.el) parent.insertBefore(child.el, parent.children[at] ?? null);
    });
  }
  return { paint };
}

// A part that scrolls is a stop on the way of the Tab key, or keys could not scroll it.
function setScrolling(node) {
  if (node.scrollHeight > node.clientHeight + 1) setAttribute(node, "tabindex", "0");
  else node.removeAttribute("tabindex");
}

// ---- header: which engine, real or paper, is it alive ----------------------------------------------------------------

const FEED_TEXT = { NONE: "NO FEED" };
const TROUBLED = ["STALE", "RECONNECTING", "FAILED"];

// What the panel can be sure of: the engine's word on its feed, unless that word is old.
function stateOf(snap) {
  if (snap.closed) return "CLOSED";
  if (snap.stale) return "STALE";
  return snap.hearing === "HEARD" ? (snap.feed ?? "NONE") : snap.hearing;
}

function createHeader(commands) {
  const name = make("span", { class: "lt-name" });
  const mode = make("span", { class: "lt-badge lt-mode", "data-lt": "mode" });
  const real = make("span", { class: "lt-real", hidden: "" }, "real money");
  const halted = make("span", { class: "lt-badge lt-halted", "data-lt": "halted", hidden: "" }, "HALTED");
  const feedText = make("span", { "data-lt": "feed" });
  const feed = make("span", { class: "lt-feed" }, make("span", { class: "lt-dot", "aria-hidden": "true" }), feedText);
  const tick = make("span", { class: "lt-tick", "data-lt": "tick" });
  const rate = make("span", { class: "lt-rate", "data-lt": "ticks-per-second" });
  const updated = make("span", { class: "lt-updated", "data-lt": "as-of" });
  const identity = make("div", { class: "lt-identity" }, name, mode, real, halted, feed);
  const pulse = make("div", { class: "lt-pulse" }, tick, rate, updated);

  function paint(snap, quiet) {
    const state = stateOf(snap);
    setText(name, snap.name ?? "");
    setText(mode, snap.mode ?? UNKNOWN);
    setHidden(real, snap.mode !== "REAL");
    setHidden(halted, !snap.halted);
    setText(feedText, FEED_TEXT[state] ?? state);
    setAttribute(feed, "data-state", state);
    setText(tick, `tick ${whole(snap.tick)}`);
    setText(rate, `${number(quiet >= QUIET_SECONDS ? 0 : snap.ticks_per_second, 1)}/s`);
    setText(updated, quiet >= QUIET_SECONDS ? `${timeOf(snap, snap.as_of)}, ${age(quiet)}` : timeOf(snap, snap.as_of));
    setAttribute(updated, "title", snap.timezone ?? "");
  }
  return { el: make("header", { class: "lt-header" }, identity, pulse, commands.el), paint };
}

function silenceText(snap) {
  const since = `No word from the engine since ${momentOf(snap)}.`;
  if (snap.desk_url) return `${since} The kernel is busy in one long call, or gone; the desk goes on without it.`;
  return `${since} The kernel is busy in one long call, or gone, or this is a saved notebook. Nothing watches its stops meanwhile.`;
}

function createNotice() {
  const el = make("div", { class: "lt-notice", "data-lt": "notice", hidden: "" });
  function paint(snap) {
    const lines = [];
    if (snap.halted) lines.push(`Trading halted${snap.halt_reason ? `: ${snap.halt_reason}` : ""}.${snap.closed ? "" : " Exits stay armed."}`);
    if (snap.closed) lines.push("Engine closed. These are its last numbers.");
    else if (snap.stale) lines.push(`Stale: the engine could not be read. ${snap.as_of ? `Numbers are from ${momentOf(snap)}.` : ""}`);
    else if (snap.hearing === "SILENT") lines.push(silenceText(snap));
    else if (snap.feed_reason && TROUBLED.includes(snap.feed)) lines.push(`Feed: ${snap.feed_reason}.`);
    setText(el, lines.join(" "));
    setHidden(el, lines.length === 0);
  }
  return { el, paint };
}

// Read aloud only when the mode, a halt or the connection changes: numbers that speak thirty times a second help nobody.
function createAnnouncer() {
  const el = make("div", { class: "lt-spoken", role: "status", "aria-live": "polite" });
  function paint(snap) {
    if (!snap.mode) return;
    const halt = snap.halted ? `Trading halted. ${snap.halt_reason ?? ""}` : "Trading is on.";
    const dead = snap.closed ? "Engine closed." : snap.stale || snap.hearing === "SILENT" ? "These numbers are not live." : "";
    setText(el, [snap.mode === "REAL" ? "Real money." : "Paper trading.", halt.trim(), dead].filter(Boolean).join(" "));
  }
  return { el, paint };
}

// ---- totals ---------------------------------------------------------------------------------------------------------

const FIGURES = [
  ["Day P&L", "day_pnl", true],
  ["Realized", "realized_pnl", true],
  ["Unrealized", "unrealized_pnl", true],
  ["Fees", "fees", false],
  ["Cash", "cash", false],
  ["Portfolio", "portfolio_value", false],
];

// No <dl>, here or elsewhere: notebooks give lists and paragraphs a layout of their own.
function createPair(kind, label, value) {
  return make("div", { class: kind, role: "group", "aria-label": label }, make("div", { class: "lt-key" }, label), value);
}

function createFigure([label, key, isToned]) {
  const value = make("div", { class: isToned ? "lt-value lt-toned" : "lt-value", "data-lt": key.replaceAll("_", "-") });
  return { el: createPair("lt-figure", label, value), paint: (pnl) => setAmount(value, pnl[key]) };
}

function createTotals() {
  const currency = make("span", { class: "lt-currency" });
  const total = make("span", { class: "lt-total lt-toned", "data-lt": "total-pnl" });
  const share = make("span", { class: "lt-share", "data-lt": "total-pnl-percent" });
  const label = make("div", { class: "lt-label" }, "P&L", currency);
  const hero = make("div", { class: "lt-hero" }, label, make("div", { class: "lt-line" }, total, share));
  const spark = createSparkline();
  const figures = FIGURES.map(createFigure);
  const list = make("div", { class: "lt-figures" }, ...figures.map((figure) => figure.el));

  function paint(snap) {
    const pnl = snap.pnl ?? {};
    setText(currency, snap.currency ?? "");
    setAmount(total, pnl.total_pnl);
    setText(share, percent(pnl.total_pnl_percent));
    spark.paint(snap.equity ?? []);
    for (const figure of figures) figure.paint(pnl);
  }
  return { el: make("div", { class: "lt-totals" }, hero, spark.el, list), paint };
}

// The curve is drawn in a box of 1000 by 100 units that the page stretches; lines keep their width.
function createSparkline() {
  const start = make("line", { class: "lt-start", x1: "0", x2: "1000" });
  const area = make("path", { class: "lt-area" });
  const curve = make("path", { class: "lt-curve" });
  const drawing = make("svg", { viewBox: "0 0 1000 100", preserveAspectRatio: "none", "aria-hidden": "true" }, area, start, curve);
  const end = make("span", { class: "lt-end", "aria-hidden": "true" });
  const high = make("span", { class: "lt-high" });
  const low = make("span", { class: "lt-low" });
  const plot = make("div", { class: "lt-plot" }, drawing, end);
  const scale = make("div", { class: "lt-scale", "aria-hidden": "true" }, high, low);
  const el = make("div", { class: "lt-spark", role: "img", "data-lt": "equity" }, plot, scale);
  let drawn = "";

  function draw(values, top, bottom) {
    const y = (value) => (top > bottom ? 94 - (88 * (value - bottom)) / (top - bottom) : 50);
    const points = values.map((value, i) => `${((1000 * i) / (values.length - 1)).toFixed(1)} ${y(value).toFixed(1)}`);
    const base = y(values[0]).toFixed(1);
    curve.setAttribute("d", `M${points.join("L")}`);
    area.setAttribute("d", `M0 ${base}L${points.join("L")}L1000 ${base}Z`);
    start.setAttribute("y1", base);
    start.setAttribute("y2", base);
    end.style.top = `${y(values.at(-1))}%`;
  }

  function paint(equity) {
    const values = equity.filter(Number.isFinite);
    const key = values.join();
    if (key === drawn) return;
    drawn = key;
    setAttribute(el, "data-empty", String(values.length === 0));
    if (values.length === 0) return;
    if (values.length === 1) values.push(values[0]); // a flat line, until the curve has begun
    const [top, bottom] = [Math.max(...values), Math.min(...values)];
    draw(values, top, bottom);
    setText(high, money(top));
    setText(low, money(bottom));
    setAttribute(el, "data-tone", tone(values.at(-1) - values[0]));
    setAttribute(el, "aria-label", `Equity, now ${money(values.at(-1))}, low ${money(bottom)}, high ${money(top)}`);
  }
  return { el, paint };
}

// ---- positions ------------------------------------------------------------------------------------------------------

const COLUMNS = ["Symbol", "Quantity", "Avg", "Last", "P&L", "Stop", "", "Target"];
const LONG_TEXT = 12;

function createCell(area, label, mark) {
  const main = make("span", { class: "lt-main", "data-lt-cell": mark });
  const minor = make("span", { class: "lt-minor" });
  const el = make("div", { class: "lt-cell", role: "cell", "data-area": area, "data-label": label }, main, minor);
  function paint(text, detail = "") {
    setText(main, text);
    setText(minor, detail);
    setAttribute(el, "data-long", String(text.length > LONG_TEXT));
  }
  return { el, main, minor, paint };
}

// Where the price stands between the stop (0) and the target (1), for longs and shorts alike. Where one of them is missing,
// the entry or the price stands in, whichever is farther.
function bracketOf({ quantity: held, avg_price: entry, last_price: last, take_profit_price: target }, stop) {
  const side = Math.sign(held);
  const known = [entry, last].filter(Number.isFinite).map((value) => side * value);
  const left = Number.isFinite(stop) ? side * stop : Math.min(...known);
  const right = Number.isFinite(target) ? side * target : Math.max(...known);
  const hasExit = Number.isFinite(stop) || Number.isFinite(target);
  if (!side || !hasExit || !Number.isFinite(last) || !(right > left)) return null;
  const place = (value) => Math.min(1, Math.max(0, (side * value - left) / (right - left)));
  return { last: place(last), entry: Number.isFinite(entry) ? place(entry) : null };
}

function createBracket() {
  const notch = make("span", { class: "lt-notch" });
  const marker = make("span", { class: "lt-marker" });
  const track = make("div", { class: "lt-track", "aria-hidden": "true", hidden: "" }, notch, marker);
  const el = make("div", { class: "lt-cell", role: "cell", "data-area": "bracket" }, track);
  const percents = (share) => `${(100 * share).toFixed(1)}%`;

  function paint(position, stop, bracket) {
    setHidden(track, !bracket);
    if (!bracket) return;
    setAttribute(track, "data-stop", String(Number.isFinite(stop)));
    setAttribute(track, "data-target", String(Number.isFinite(position.take_profit_price)));
    setHidden(notch, bracket.entry === null);
    if (!notch.hidden) notch.style.left = percents(bracket.entry);
    marker.style.left = percents(bracket.last);
    setAttribute(marker, "data-tone", tone(position.unrealized_pnl));
  }
  return { el, paint };
}

// Of a fixed and a trailing stop, the one that the price would meet first.
function nearestStop(position) {
  const stops = [position.stop_loss_price, position.trailing_stop_price].filter(Number.isFinite);
  if (stops.length === 0) return null;
  return position.quantity < 0 ? Math.min(...stops) : Math.max(...stops);
}

function distance(level, last) {
  return Number.isFinite(level) && last > 0 ? percent((100 * (level - last)) / last) : "";
}

function sideOf({ quantity: held }) {
  return held < 0 ? "short" : held > 0 ? "long" : "flat";
}

function createRow(symbol) {
  const title = createCell("symbol", "", "symbol");
  const size = createCell("quantity", "Quantity", "quantity");
  const average = createCell("average", "Avg", "avg-price");
  const last = createCell("last", "Last", "last-price");
  const pnl = createCell("pnl", "P&L", "total-pnl");
  const stop = createCell("stop", "Stop", "stop-loss-price");
  const bracket = createBracket();
  const target = createCell("target", "Target", "take-profit-price");
  const cells = [title, size, average, last, pnl, stop, bracket, target];
  pnl.main.classList.add("lt-toned");
  const el = make("div", { class: "lt-row", role: "row", "data-lt-symbol": symbol }, ...cells.map((cell) => cell.el));

  function paint(position, quiet) {
    const level = nearestStop(position);
    const between = bracketOf(position, level);
    const away = distance(level, position.last_price);
    title.paint(symbol, sideOf(position));
    size.paint(quantity(position.quantity, position), brief(position.market_value, "negative"));
    average.paint(price(position.avg_price, position));
    last.paint(price(position.last_price, position), position.age == null ? "" : age(position.age + quiet));
    pnl.paint(money(position.total_pnl), `open ${brief(position.unrealized_pnl, "exceptZero")}`);
    setAttribute(pnl.main, "data-tone", tone(position.total_pnl));
    stop.paint(price(level, position), level !== null && level === position.trailing_stop_price ? `${away} trail` : away);
    setAttribute(stop.el, "data-near", String(level !== null && between !== null && between.last < NEAR));
    bracket.paint(position, level, between);
    target.paint(price(position.take_profit_price, position), distance(position.take_profit_price, position.last_price));
  }
  return { el, paint };
}

function createPositions() {
  const heads = COLUMNS.map((label) => make("div", { class: "lt-head", role: "columnheader" }, label));
  const header = make("div", { class: "lt-row lt-heads", role: "row" }, ...heads);
  const body = make("div", { class: "lt-rows", role: "rowgroup" });
  const table = make("div", { class: "lt-table", role: "table", "aria-label": "Positions" }, header, body);
  const empty = make("div", { class: "lt-empty", hidden: "" }, "No open positions");
  const el = make("div", { ...OWN_KEYS, class: "lt-positions lt-scrolling" }, table, empty);
  const rows = createChildren(body, createRow);

  function paint(snap, quiet) {
    rows.paint(snap.positions, (position) => position.symbol, quiet);
    setHidden(table, snap.positions.length === 0);
    setHidden(empty, !snap.pnl || snap.positions.length > 0); // what is not known is not none
  }
  return { el, paint };
}

// ---- working orders and fills ---------------------------------------------------------------------------------------

// What it is on the left, its figures on the right.
function createEntry(read) {
  const [what, detail, figure, extra] = ["lt-main", "lt-minor", "lt-main", "lt-minor lt-toned"].map((kind) => make("span", { class: kind }));
  const left = make("div", { class: "lt-what" }, what, detail);
  const right = make("div", { class: "lt-sum" }, figure, extra);
  const el = make("div", { class: "lt-entry", role: "listitem" }, left, right);
  function paint(item, snap) {
    const entry = read(item, snap);
    setText(what, entry.what);
    setText(detail, entry.detail);
    setText(figure, entry.figure);
    setText(extra, entry.extra);
    setAttribute(extra, "data-tone", entry.tone ?? "flat");
  }
  return { el, paint };
}

const bySource = (source) => (source && source !== "USER" ? [words(source)] : []);

function readOrder(order) {
  const prices = [order.trigger_price, order.limit_price].filter(Number.isFinite).map((value) => price(value, order));
  const filled = `${quantity(order.filled_qty, order)} of ${quantity(order.quantity, order)} filled`;
  const isUsual = ["ACCEPTED", "PARTIALLY_FILLED"].includes(order.status);
  return {
    what: `${order.side} ${quantity(order.quantity, order)} ${order.symbol}`,
    detail: [words(order.order_type), ...bySource(order.source)].join(", "),
    figure: prices.join(" / ") || "market",
    extra: isUsual ? filled : `${words(order.status)}, ${filled}`,
    tone: order.status === "UNKNOWN" ? "loss" : "flat",
  };
}

function readFill(fill, snap) {
  return {
    what: `${fill.side} ${quantity(fill.quantity, fill)} ${fill.symbol}`,
    detail: [timeOf(snap, fill.time), ...bySource(fill.source)].join(", "),
    figure: price(fill.price, fill),
    extra: fill.realized_pnl ? money(fill.realized_pnl) : "",
    tone: tone(fill.realized_pnl),
  };
}

function createList(label, mark, nothing, read) {
  const total = make("span", { class: "lt-count", "data-lt": mark });
  const part = make("span");
  const title = make("div", { class: "lt-title" }, label, total, part);
  const list = make("div", { ...OWN_KEYS, class: "lt-list lt-scrolling", role: "list", "aria-label": label });
  const empty = make("div", { class: "lt-none" }, nothing);
  const entries = createChildren(list, () => createEntry(read));

  function paint(items, snap, all) {
    entries.paint(items, (item) => item.id, snap);
    setText(total, all === undefined ? "" : whole(all));
    setText(part, all > items.length ? `${items.length} shown` : "");
    setHidden(list, items.length === 0);
    setHidden(empty, !snap.pnl || items.length > 0);
  }
  return { el: make("div", { class: "lt-half" }, title, list, empty), paint };
}

function createActivity() {
  const orders = createList("Working orders", "working-orders", "None", readOrder);
  const fills = createList("Last fills", "fills", "None yet", readFill);
  function paint(snap) {
    orders.paint(snap.orders, snap, snap.working_orders);
    fills.paint(snap.fills, snap);
  }
  return { el: make("div", { class: "lt-activity" }, orders.el, fills.el), paint };
}

// ---- commands -------------------------------------------------------------------------------------------------------

function createButton(mark, onPress) {
  const el = make("button", { ...OWN_KEYS, type: "button", class: `lt-button lt-${mark}`, "data-lt": mark });
  el.addEventListener("click", onPress);
  // A held key repeats its clicks; one press is one act.
  el.addEventListener("keydown", (event) => { if (event.repeat) event.preventDefault(); });
  return el;
}

// Remembers a command until a snapshot shows its effect, so that the button says "sent" and never claims more.
function createWait(repaint) {
  let isDone = null;
  let timer = 0;
  function end() {
    clearTimeout(timer);
    isDone = null;
    repaint();
  }
  function begin(condition, answer) {
    clearTimeout(timer);
    isDone = condition;
    timer = setTimeout(end, WAITING_MS);
    repaint();
    Promise.resolve(answer).then((done) => { if (done === false && isDone === condition) end(); });
  }
  function isOpen(snap) {
    if (isDone?.(snap)) {
      clearTimeout(timer);
      isDone = null;
    }
    return isDone !== null;
  }
  return { begin, isOpen, dispose: () => clearTimeout(timer) };
}

const ASKS = {
  halt: () => "Halt? Orders that open are refused; exits stay armed.",
  resume: () => "Resume? Orders that open are let through again.",
  flatten({ open_positions: held, working_orders: working }) {
    const acts = [held && `closes ${count(held, "position")} at the market`, working && `cancels ${count(working, "order")}`];
    return held || working ? `Flatten? It ${acts.filter(Boolean).join(" and ")}.` : "Flatten? Nothing is open now.";
  },
};
const DONE = {
  halt: (snap) => Boolean(snap.halted),
  resume: (snap) => !snap.halted,
  flatten: (snap) => !snap.working_orders && !snap.open_positions,
};
const LABELS = { halt: "Halt", resume: "Resume", flatten: "Flatten" };

let questions = 0;

// Asks once more. Escape, "Not now" and a while without an answer take it back.
function createQuestion(repaint, onYes) {
  let action = "";
  let askedAt = 0;
  let timer = 0;
  let asker = null;
  const text = make("span", { class: "lt-question", "data-lt": "question", id: `livetrade-question-${++questions}` });
  const yes = createButton("confirm", (event) => answer(event, () => onYes(action)));
  const no = createButton("cancel", (event) => answer(event, () => {}));
  const el = make("div", { class: "lt-asking", role: "group", "aria-labelledby": text.id, hidden: "" }, text, yes, no);
  no.textContent = "Not now";
  el.addEventListener("keydown", (event) => { if (event.key === "Escape") end(); });

  function ask(what, button) {
    clearTimeout(timer);
    [action, asker, askedAt] = [what, button, Date.now()];
    timer = setTimeout(end, ASKING_MS);
    repaint.now();
    yes.focus();
  }
  // The second half of a double-click is no second decision.
  function answer(event, act) {
    if (event.detail > 1 && Date.now() - askedAt < DOUBLE_CLICK_MS) return;
    act();
    end();
  }
  function end() {
    clearTimeout(timer);
    const hadFocus = el.contains(el.getRootNode().activeElement);
    action = "";
    repaint.now();
    if (hadFocus) asker.focus();
  }
  function paint(snap) {
    setHidden(el, !action);
    if (!action) return;
    setText(text, ASKS[action](snap));
    setText(yes, `${LABELS[action]} now`);
    setDisabled(yes, Boolean(snap.closed));
  }
  return { el, ask, paint, isOpen: () => Boolean(action), dispose: () => clearTimeout(timer) };
}

function createCommand(mark, actionIn, ask, repaint) {
  const wait = createWait(repaint);
  let current = mark;
  const el = createButton(mark, () => ask(current, el));
  function paint(snap) {
    current = actionIn(snap);
    setText(el, wait.isOpen(snap) ? `${LABELS[current]} sent` : LABELS[current]);
    setDisabled(el, Boolean(snap.closed));
  }
  return { el, paint, wait };
}

// Only a plain web address becomes a link: a snapshot must not be able to carry a script.
const isWebAddress = (text) => typeof text === "string" && /^https?:\/\//.test(text);

// Where an engine has a page of its own, the buttons there need no kernel.
function createLink() {
  const el = make("a", { ...OWN_KEYS, "data-lt": "desk-link", target: "_blank", rel: "noreferrer", hidden: "" }, "Desk page");
  function paint(snap) {
    setHidden(el, !isWebAddress(snap.desk_url));
    if (!el.hidden) setAttribute(el, "href", snap.desk_url);
  }
  return { el, paint };
}

function createCommands(model, repaint) {
  const send = (action) => (action === "flatten" ? flatten : halt).wait.begin(DONE[action], model.send({ action }));
  const question = createQuestion(repaint, send);
  const halt = createCommand("halt", (snap) => (snap.halted ? "resume" : "halt"), question.ask, repaint);
  const flatten = createCommand("flatten", () => "flatten", question.ask, repaint);
  const link = createLink();
  const buttons = make("div", { class: "lt-buttons" }, link.el, halt.el, flatten.el);
  const el = make("div", { class: "lt-commands" }, buttons, question.el);
  function paint(snap) {
    for (const part of [link, halt, flatten, question]) part.paint(snap);
    setHidden(buttons, question.isOpen());
    setAttribute(el, "data-asking", String(question.isOpen()));
  }
  function dispose() {
    for (const part of [halt.wait, flatten.wait, question]) part.dispose();
  }
  return { el, paint, dispose };
}

// ---- footer ---------------------------------------------------------------------------------------------------------

function createFact(label, mark, read, isBad, title = "") {
  const value = make("div", { class: "lt-value", "data-lt": mark });
  const el = createPair("lt-fact", label, value);
  if (title) el.title = title;
  function paint(snap) {
    setText(value, read(snap));
    setAttribute(el, "data-bad", String(isBad(snap)));
  }
  return { el, paint };
}

// The longest that any price may have waited for its stop: in the queue, or while nothing could run at all.
const worst = (snap) => Math.max(snap.lag_ms?.max ?? NaN, snap.worst_stall_ms ?? 0);

function createFooter(model) {
  const isPage = model.get("host") === "page";
  const facts = [
    createFact("Tick to stop, p99", "lag", (snap) => milliseconds(snap.lag_ms?.p99), (snap) => snap.lag_ms?.p99 > SLOW_MS,
      "From a tick's arrival until its stops were checked, over the last few thousand ticks"),
    createFact(isPage ? "worst" : "worst while you computed", "worst", (snap) => milliseconds(worst(snap)), (snap) => worst(snap) > STALL_MS,
      "The longest of these, or the longest that the engine could not run at all"),
    createFact("Alarms", "alarms", (snap) => [whole(snap.alarms), ...(snap.alarm ? [snap.alarm] : [])].join(": "), (snap) => snap.alarms > 0),
  ];
  const list = make("div", { class: "lt-facts" }, ...facts.map((fact) => fact.el));
  const note = make("div", { class: "lt-note" }, "Halt and Flatten go through the notebook kernel: a busy cell can delay them.");
  note.hidden = isPage;
  return {
    el: make("footer", { class: "lt-footer" }, list, note),
    paint: (snap) => facts.forEach((fact) => fact.paint(snap)),
  };
}

// ---- the host -------------------------------------------------------------------------------------------------------

// "light" or "dark" where a notebook says so; otherwise "" and the system's preference counts.
function hostTheme() {
  const { body, documentElement: root } = document;
  const declared = body.dataset.jpThemeLight;
  if (declared) return declared === "true" ? "light" : "dark";
  const names = new Set([...body.classList, ...root.classList, root.getAttribute("theme")]);
  if (["dark", "dark-theme", "vscode-dark"].some((name) => names.has(name))) return "dark";
  return ["light", "light-theme", "vscode-light"].some((name) => names.has(name)) ? "light" : "";
}

function followTheme(root) {
  const apply = () => setAttribute(root, "data-theme", hostTheme());
  const observer = new MutationObserver(apply);
  for (const node of [document.documentElement, document.body]) observer.observe(node, { attributes: true });
  apply();
  return () => observer.disconnect();
}

// How long nothing has been heard, by this browser's clock, because the engine's may be set differently. A view begins with
// what the notebook remembers, which may be of last year: until the first word it is WAITING.
function createSilence() {
  let since = performance.now();
  let isHeard = false;
  const seconds = () => (performance.now() - since) / 1000;
  function hear() {
    since = performance.now();
    isHeard = true;
  }
  return { hear, seconds, hearing: () => (seconds() > SILENT_SECONDS ? "SILENT" : isHeard ? "HEARD" : "WAITING") };
}

// The parts that came apart, together again.
function joined(model) {
  const snap = model.get("snap") ?? {};
  const moving = Object.entries(snap.moving ?? {});
  const positions = (model.get("positions") ?? []).map((held, at) => ({
    ...held,
    ...Object.fromEntries(moving.map(([name, column]) => [name, column[at]])),
  }));
  const [orders, fills, equity] = ["orders", "fills", "equity"].map((name) => model.get(name) ?? []);
  return { ...snap, positions, orders, fills, equity };
}

function createRepaint(paint) {
  let frame = 0;
  function now() {
    cancelAnimationFrame(frame);
    frame = 0;
    paint();
  }
  const repaint = () => { frame ||= requestAnimationFrame(now); };
  return Object.assign(repaint, { now, dispose: () => cancelAnimationFrame(frame) });
}

function render({ model, el }) {
  const silence = createSilence();
  const repaint = createRepaint(paint);
  const commands = createCommands(model, repaint);
  const shown = [createAnnouncer(), createHeader(commands), createNotice(), createTotals(), createPositions(), createActivity(), createFooter(model)];
  const root = make("section", { class: "livetrade-panel", "aria-label": "Live P&L" }, ...shown.map((part) => part.el));

  function paint() {
    const hearing = model.get("host") === "page" ? "HEARD" : silence.hearing();
    const snap = { ...joined(model), hearing };
    for (const part of [commands, ...shown]) part.paint(snap, silence.seconds());
    setAttribute(root, "data-mode", snap.mode ?? "");
    setAttribute(root, "data-asleep", String(Boolean(snap.closed || snap.stale || hearing === "SILENT")));
  }
  function onSnapshot() {
    silence.hear();
    repaint();
  }

  const unfollow = followTheme(root);
  const everySecond = setInterval(() => {
    repaint(); // ages grow while nothing arrives
    root.querySelectorAll(".lt-scrolling").forEach(setScrolling); // too slow a question for each paint
  }, 1000);
  model.on("change:snap", onSnapshot);
  paint();
  el.append(root);
  return () => {
    model.off("change:snap", onSnapshot);
    clearInterval(everySecond);
    repaint.dispose();
    commands.dispose();
    unfollow();
    root.remove();
  };
}

export default { render };
