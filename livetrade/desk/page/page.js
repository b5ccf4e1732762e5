// The live page: the notebook's panel, fed by the desk's WebSocket. Its buttons are requests to the desk; no kernel has
// a part in them.

import panel from "/panel.js";

const API = "/api/live-trading";
const SHORTEST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 5000;
const QUIET_MS = 5000;
const HEALTH_MS = 4000; // less than QUIET_MS, so that one question is open at a time
const COMMAND_MS = 10000; // the desk itself gives up earlier, and says so

// The token has done its work when the page is there: it leaves the address, and the history.
if (location.search) history.replaceState(null, "", location.pathname);

const [connection, unlock, token, main, answer] = ["connection", "unlock", "token", "panel", "answer"].map((id) =>
  document.getElementById(id),
);

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Status 0 stands for no answer, or none that can be read.
async function ask(address, patience, options = {}) {
  const control = new AbortController();
  const timer = setTimeout(() => control.abort(), patience);
  try {
    const response = await fetch(address, { ...options, signal: control.signal });
    const isJson = response.headers.get("content-type") === "application/json";
    return { ...(isJson && (await response.json())), status: response.status };
  } catch {
    return { status: 0 };
  } finally {
    clearTimeout(timer);
  }
}

// ---- the panel ------------------------------------------------------------------------------------------------------

const callbacks = new Map();
const state = { snap: {}, host: "page" };

const model = {
  get: (name) => state[name],
  on: (event, callback) => callbacks.set(event, [...(callbacks.get(event) ?? []), callback]),
  off: (event, callback) => callbacks.set(event, (callbacks.get(event) ?? []).filter((other) => other !== callback)),
  send: (message) => command(message.action),
};

function show(snap) {
  state.snap = snap;
  main.hidden = false;
  document.title = [snap.halted && "HALTED", snap.stale && "STALE", snap.name, snap.mode, "livetrade desk"].filter(Boolean).join(" ");
  for (const callback of callbacks.get("change:snap") ?? []) callback();
}

// Gives whether it was done, for the button.
async function command(action) {
  const { success, message } = await ask(`${API}/${action}`, COMMAND_MS, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(action === "halt" ? { reason: "live page" } : {}),
    keepalive: true, // it arrives though the page is closed in the same moment
  });
  const told = message ?? `No answer from the desk: ${action} may not have been done`;
  setText(answer, `${new Date().toLocaleTimeString("en-GB", { timeZone: state.snap.timezone })} ${told}`);
  answer.dataset.done = String(Boolean(success));
  return Boolean(success);
}

panel.render({ model, el: main });
main.querySelector(".lt-header").append(answer);

// ---- the connection -------------------------------------------------------------------------------------------------

let socket = null; // null while there is none
let heard = 0;
let wait = SHORTEST_WAIT_MS;
let timer = 0;
let isAsking = false;

function connect() {
  const opened = new WebSocket(`${location.origin.replace("http", "ws")}${API}/stream?view=panel`);
  opened.onmessage = (event) => {
    heard = performance.now();
    wait = SHORTEST_WAIT_MS;
    setText(connection, "");
    const { type, ...frame } = JSON.parse(event.data); // the parts of the snapshot that have changed
    Object.assign(state, frame);
    show(state.snap);
  };
  opened.onclose = (event) => lose(event.reason ? `The desk has closed the connection: ${event.reason}.` : "Not connected to the desk.");
  socket = opened;
  heard = performance.now();
}

function lose(why) {
  if (socket) {
    socket.onmessage = socket.onclose = null;
    socket.close();
    socket = null;
    show({ ...state.snap, stale: true });
  }
  setText(connection, `${why} Trying again …`);
  clearTimeout(timer);
  timer = setTimeout(connectAgain, wait);
  wait = Math.min(2 * wait, LONGEST_WAIT_MS);
}

// A WebSocket that is refused does not say why; a request does.
async function connectAgain() {
  if (socket || isAsking) return;
  clearTimeout(timer);
  isAsking = true;
  const { status } = await ask(`${API}/health`, HEALTH_MS);
  isAsking = false;
  if (status === 401) showLocked("The desk asks for its token.");
  else if (status !== 200) lose("Not connected to the desk.");
  else if (unlock.hidden) connect();
  else location.reload(); // a new token is a new desk, with a page of its own
}

function showLocked(why) {
  setText(connection, why);
  unlock.hidden = false;
}

// Asked for in the background, the address with the token enters no history.
async function open(event) {
  event.preventDefault();
  const { status } = await ask(`/?token=${encodeURIComponent(token.value.trim())}`, HEALTH_MS);
  if (status === 401) showLocked("That is not the desk's token.");
  else connectAgain();
}

// A desk that is stuck, or a network that is gone, closes nothing.
async function lookAfter() {
  const looked = socket;
  const now = performance.now();
  if (!looked || now - heard < QUIET_MS) return;
  heard = now;
  const { status } = await ask(`${API}/health`, HEALTH_MS);
  if (status !== 200 && socket === looked && heard === now) lose("The desk does not answer.");
}

// The token may have been given in another tab, and a hidden tab's timers are slow.
function comeBack() {
  if (document.visibilityState === "visible") connectAgain();
}

setInterval(lookAfter, 1000);
unlock.addEventListener("submit", open);
document.addEventListener("visibilitychange", comeBack);
window.addEventListener("focus", comeBack);
connect();
