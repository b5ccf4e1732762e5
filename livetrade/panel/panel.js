// The live panel: draws the one dict described at the top of panel.py, and sends back {action: "halt" | "resume" | "flatten"}.
//
// It needs a model with get(name), on(event, callback), off(event, callback) and send(message): a notebook's widget model, or
// on a web page any small object with these four that keeps the latest snapshot under "snap" and calls the callbacks of
// "change:snap". Such a page answers "page" to get("host"), because its buttons do not wait for a kernel; its send() may give
// a promise, false when the command was not done. The equity curve is in the snapshot, or apart under "equity" where the wire
// is narrow.
//
// The elements are made once. A paint only changes texts and attributes that differ, at most once per animation frame.

const UNKNOWN = "–";
const QUIET_SECONDS = 3;
const ARMED_MS = 3000;
const DOUBLE_CLICK_MS = 250;
const WAITING_MS = 10000;
const SLOW_LAG_MS = 100;

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
const whole = (value) => number(value ?? 0, 0);
const percent = (value) => (Number.isFinite(value) ? `${number(value, 2, 2, "exceptZero")}%` : UNKNOWN);
const milliseconds = (value) => (Number.isFinite(value) ? `${number(value, 0, value < 10 ? 1 : 0)} ms` : UNKNOWN);
const price = (value, position) => number(value, Math.min(2, position.price_decimals ?? 2), position.price_decimals ?? 2);

function age(seconds) {
  if (!Number.isFinite(seconds)) return UNKNOWN;
  if (seconds < 1) return "now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  return seconds < 86400 ? `${Math.floor(seconds / 3600)} h ago` : `${Math.floor(seconds / 86400)} d ago`;
}

function clock(epochMs) {
  if (!Number.isFinite(epochMs)) return UNKNOWN;
  return new Date(epochMs).toLocaleTimeString("en-GB", { hour12: false });
}

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

const setText = (node, text) => { if (node.textContent !== text) node.textContent = text; };
const setHidden = (node, hidden) => { if (node.hidden !== hidden) node.hidden = hidden; };

function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

function setAmount(node, value) {
  setText(node, money(value));
  setAttribute(node, "data-tone", tone(value));
}

// ---- header: which engine, real or paper, is it alive ----------------------------------------------------------------

const FEED_TEXT = { NONE: "NO FEED" };

function createHeader() {
  const name = make("span", { class: "lt-name" });
  const mode = make("span", { class: "lt-badge lt-mode", "data-lt": "mode" });
  const halted = make("span", { class: "lt-badge lt-halted", "data-lt": "halted", hidden: "" }, "HALTED");
  const feedText = make("span", { "data-lt": "feed" });
  const feed = make("span", { class: "lt-feed" }, make("span", { class: "lt-dot", "aria-hidden": "true" }), feedText);
  const tick = make("span", { class: "lt-tick", "data-lt": "tick" });
  const rate = make("span", { class: "lt-rate", "data-lt": "ticks-per-second" });
  const updated = make("span", { class: "lt-updated", "data-lt": "as-of" });
  const identity = make("div", { class: "lt-identity" }, name, mode, halted, feed);
  const pulse = make("div", { class: "lt-pulse" }, tick, rate, updated);

  function paint(snap, quiet) {
    const state = snap.stale ? "STALE" : snap.closed ? "CLOSED" : (snap.feed ?? "NONE");
    setText(name, snap.name ?? "");
    setText(mode, snap.mode ?? UNKNOWN);
    setAttribute(mode, "data-mode", snap.mode ?? "");
    setHidden(halted, !snap.halted);
    setText(feedText, FEED_TEXT[state] ?? state);
    setAttribute(feed, "data-state", state);
    setText(tick, `tick ${whole(snap.tick)}`);
    setText(rate, `${number(quiet >= QUIET_SECONDS ? 0 : snap.ticks_per_second, 1)}/s`);
    setText(updated, quiet >= QUIET_SECONDS ? `${clock(snap.as_of)}, ${age(quiet)}` : clock(snap.as_of));
  }
  return { el: make("header", { class: "lt-header" }, identity, pulse), paint };
}

const fromWhen = (asOf) => (Number.isFinite(asOf) ? `Numbers are from ${clock(asOf)}.` : "");

function createNotice() {
  const el = make("div", { class: "lt-notice", "data-lt": "notice", hidden: "" });
  function paint(snap) {
    const lines = [];
    if (snap.halted) lines.push(`Trading halted${snap.halt_reason ? `: ${snap.halt_reason}` : ""}. Exits stay armed.`);
    if (snap.closed) lines.push("Engine closed. These are its last numbers.");
    else if (snap.stale) lines.push(`Stale: the engine could not be read. ${fromWhen(snap.as_of)}`);
    setText(el, lines.join(" "));
    setHidden(el, lines.length === 0);
  }
  return { el, paint };
}

// Read aloud only when the mode or a halt changes: numbers that speak thirty times a second help nobody.
function createAnnouncer() {
  const el = make("div", { class: "lt-spoken", role: "status", "aria-live": "polite" });
  function paint(snap) {
    if (!snap.mode) return;
    const halt = snap.halted ? `Trading halted. ${snap.halt_reason ?? ""}` : "Trading is on.";
    setText(el, `${snap.mode === "REAL" ? "Real money." : "Paper trading."} ${halt}`.trim());
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
  const el = make("div", { class: "lt-spark", role: "img", "data-lt": "equity", hidden: "" }, plot, scale);
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
    setHidden(el, values.length < 2);
    if (values.length < 2) return;
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

function createCell(area, label, mark) {
  const main = make("span", { class: "lt-main", "data-lt-cell": mark });
  const minor = make("span", { class: "lt-minor" });
  const el = make("div", { class: "lt-cell", role: "cell", "data-area": area, "data-label": label }, main, minor);
  function paint(text, detail = "") {
    setText(main, text);
    setText(minor, detail);
  }
  return { el, main, minor, paint };
}

// A marker between the stop (left) and the target (right), for longs and shorts alike, with a notch at the entry.
function createBracket() {
  const notch = make("span", { class: "lt-notch" });
  const marker = make("span", { class: "lt-marker" });
  const track = make("div", { class: "lt-track", "aria-hidden": "true", hidden: "" }, notch, marker);
  const el = make("div", { class: "lt-cell", role: "cell", "data-area": "bracket" }, track);

  function paint(position, stop) {
    const target = position.take_profit_price;
    const isKnown = [stop, target, position.last_price].every(Number.isFinite) && stop !== target;
    setHidden(track, !isKnown);
    if (!isKnown) return;
    const place = (value) => `${(100 * Math.min(1, Math.max(0, (value - stop) / (target - stop)))).toFixed(1)}%`;
    setHidden(notch, !Number.isFinite(position.avg_price));
    if (!notch.hidden) notch.style.left = place(position.avg_price);
    marker.style.left = place(position.last_price);
    setAttribute(marker, "data-tone", tone(position.total_pnl));
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

function createRow(symbol) {
  const title = createCell("symbol", "", "symbol");
  const quantity = createCell("quantity", "Quantity", "quantity");
  const average = createCell("average", "Avg", "avg-price");
  const last = createCell("last", "Last", "last-price");
  const pnl = createCell("pnl", "P&L", "total-pnl");
  const stop = createCell("stop", "Stop", "stop-loss-price");
  const bracket = createBracket();
  const target = createCell("target", "Target", "take-profit-price");
  const cells = [title, quantity, average, last, pnl, stop, bracket, target];
  pnl.main.classList.add("lt-toned");
  const el = make("div", { class: "lt-row", role: "row", "data-lt-symbol": symbol }, ...cells.map((cell) => cell.el));

  function paint(position, quiet) {
    const level = nearestStop(position);
    const trails = level !== null && level === position.trailing_stop_price;
    const away = distance(level, position.last_price);
    title.paint(symbol, position.quantity < 0 ? "short" : position.quantity > 0 ? "long" : "flat");
    quantity.paint(number(position.quantity, 0, position.quantity_decimals ?? 0), money(position.market_value));
    average.paint(price(position.avg_price, position));
    last.paint(price(position.last_price, position), position.age == null ? "" : age(position.age + quiet));
    setAmount(pnl.main, position.total_pnl);
    setText(pnl.minor, `open ${number(position.unrealized_pnl, 2, 2, "exceptZero")}`);
    stop.paint(price(level, position), trails ? `${away} trail` : away);
    bracket.paint(position, level);
    target.paint(price(position.take_profit_price, position), distance(position.take_profit_price, position.last_price));
  }
  return { el, paint };
}

function createPositions() {
  const heads = COLUMNS.map((label) => make("div", { class: "lt-head", role: "columnheader" }, label));
  const header = make("div", { class: "lt-row lt-heads", role: "row" }, ...heads);
  const el = make("div", { class: "lt-positions", role: "table", "aria-label": "Positions" }, header);
  const empty = make("div", { class: "lt-empty" }, "No open positions");
  const rows = new Map();

  function rowOf(symbol) {
    if (!rows.has(symbol)) rows.set(symbol, createRow(symbol));
    return rows.get(symbol);
  }

  function dropExcept(symbols) {
    for (const [symbol, row] of rows) {
      if (symbols.has(symbol)) continue;
      row.el.remove();
      rows.delete(symbol);
    }
  }

  function paint(snap, quiet) {
    const positions = snap.positions ?? [];
    dropExcept(new Set(positions.map((position) => position.symbol)));
    let before = header;
    for (const position of positions) {
      const row = rowOf(position.symbol);
      row.paint(position, quiet);
      if (before.nextSibling !== row.el) before.after(row.el);
      before = row.el;
    }
    setHidden(el, positions.length === 0);
    setHidden(empty, !snap.positions || positions.length > 0); // what is not known is not none
  }
  return { el: make("div", {}, el, empty), paint };
}

// ---- commands -------------------------------------------------------------------------------------------------------

function createButton(mark, onPress) {
  const el = make("button", { type: "button", class: `lt-button lt-${mark}`, "data-lt": mark });
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

function createHalt(model, repaint) {
  const wait = createWait(repaint);
  const el = createButton("halt", () => {
    const wanted = !model.get("snap")?.halted;
    const answer = model.send({ action: wanted ? "halt" : "resume" });
    wait.begin((snap) => Boolean(snap.halted) === wanted, answer);
  });
  function paint(snap) {
    const label = snap.halted ? "Resume" : "Halt";
    setText(el, wait.isOpen(snap) ? `${label} sent` : label);
    if (el.disabled !== Boolean(snap.closed)) el.disabled = Boolean(snap.closed);
  }
  return { el, paint, dispose: wait.dispose };
}

const isFlat = (snap) => !snap.working_orders && (snap.positions ?? []).every((position) => !position.quantity);

function createFlatten(model, repaint) {
  const wait = createWait(repaint);
  let armedAt = 0;
  let timer = 0;

  function disarm() {
    clearTimeout(timer);
    armedAt = 0;
    repaint();
  }
  function arm() {
    armedAt = Date.now();
    timer = setTimeout(disarm, ARMED_MS);
    repaint();
  }
  function confirm() {
    disarm();
    wait.begin(isFlat, model.send({ action: "flatten" }));
  }
  function press(event) {
    if (!armedAt) return arm();
    // The second half of a double-click is no second decision.
    const isDoubleClick = event.detail > 1 && Date.now() - armedAt < DOUBLE_CLICK_MS;
    if (!isDoubleClick) confirm();
  }

  const el = createButton("flatten", press);
  el.addEventListener("keydown", (event) => { if (event.key === "Escape" && armedAt) disarm(); });
  function paint(snap) {
    setText(el, armedAt ? "Flatten all? click again" : wait.isOpen(snap) ? "Flatten sent" : "Flatten");
    setAttribute(el, "data-armed", String(Boolean(armedAt)));
    if (el.disabled !== Boolean(snap.closed)) el.disabled = Boolean(snap.closed);
  }
  function dispose() {
    clearTimeout(timer);
    wait.dispose();
  }
  return { el, paint, dispose };
}

// Only a plain web address becomes a link: a snapshot must not be able to carry a script.
const isWebAddress = (text) => typeof text === "string" && /^https?:\/\//.test(text);

function createNote(model) {
  const link = make("a", { "data-lt": "desk-link", target: "_blank", rel: "noreferrer", hidden: "" }, "Open the desk page");
  const text = "These buttons go through the notebook kernel: a busy cell can delay them. ";
  const el = make("div", { class: "lt-note" }, text, link);
  function paint(snap) {
    setHidden(el, model.get("host") === "page");
    setHidden(link, !isWebAddress(snap.desk_url));
    if (!link.hidden) setAttribute(link, "href", snap.desk_url);
  }
  return { el, paint };
}

function createFact(label, mark, read, isBad) {
  const value = make("div", { class: "lt-value", "data-lt": mark });
  const el = createPair("lt-fact", label, value);
  function paint(snap) {
    setText(value, read(snap));
    setAttribute(el, "data-bad", String(isBad(snap)));
  }
  return { el, paint };
}

function createFooter(model, repaint) {
  const commands = [createHalt(model, repaint), createFlatten(model, repaint)];
  const never = () => false;
  const facts = [
    createFact("Working orders", "working-orders", (snap) => whole(snap.working_orders), never),
    createFact("Alarms", "alarms", (snap) => whole(snap.alarms), (snap) => snap.alarms > 0),
    createFact("Lag p99", "lag", (snap) => milliseconds(snap.lag_ms?.p99), (snap) => snap.lag_ms?.p99 > SLOW_LAG_MS),
    createFact("Worst stall", "worst-stall", (snap) => milliseconds(snap.worst_stall_ms), never),
  ];
  const note = createNote(model);
  const buttons = make("div", { class: "lt-buttons" }, ...commands.map((command) => command.el));
  const list = make("div", { class: "lt-facts" }, ...facts.map((fact) => fact.el));
  const parts = [...commands, ...facts, note];
  return {
    el: make("footer", { class: "lt-footer" }, buttons, list, note.el),
    paint: (snap) => parts.forEach((part) => part.paint(snap)),
    dispose: () => commands.forEach((command) => command.dispose()),
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

// Seconds since the latest snapshot. Its own time is trusted only for the first one, which may come from a saved notebook:
// afterwards this browser's clock measures, because the engine's may be set differently.
function createSilence(model) {
  const asOf = model.get("snap")?.as_of;
  let since = performance.now() - (Number.isFinite(asOf) ? Math.max(0, Date.now() - asOf) : 0);
  return { reset: () => { since = performance.now(); }, seconds: () => (performance.now() - since) / 1000 };
}

function render({ model, el }) {
  let frame = 0;
  const silence = createSilence(model);
  const repaint = () => { frame ||= requestAnimationFrame(paint); };
  const footer = createFooter(model, repaint);
  const parts = [createAnnouncer(), createHeader(), createNotice(), createTotals(), createPositions(), footer];
  const root = make("section", { class: "livetrade-panel", "aria-label": "Live P&L" }, ...parts.map((part) => part.el));

  function paint() {
    frame = 0;
    const snap = { equity: model.get("equity"), ...model.get("snap") };
    for (const part of parts) part.paint(snap, silence.seconds());
    setAttribute(root, "data-mode", snap.mode ?? "");
    setAttribute(root, "data-asleep", String(Boolean(snap.closed || snap.stale)));
  }
  function onSnapshot() {
    silence.reset();
    repaint();
  }

  const unfollow = followTheme(root);
  const everySecond = setInterval(repaint, 1000); // ages grow while nothing arrives
  model.on("change:snap", onSnapshot);
  model.on("change:equity", repaint);
  paint();
  el.append(root);
  return () => {
    model.off("change:snap", onSnapshot);
    model.off("change:equity", repaint);
    cancelAnimationFrame(frame);
    clearInterval(everySecond);
    footer.dispose();
    unfollow();
    root.remove();
  };
}

export default { render };
