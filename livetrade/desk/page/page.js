// The live page: the notebook's panel, fed by the desk's WebSocket. Its buttons are requests to the desk; no kernel has
// a part in them.

import panel from "/panel.js";

const API = "/api/live-trading";
const SHORTEST_MS = 250;
const LONGEST_MS = 5000;

// The token has done its work when the page is there: it leaves the address, and the history.
if (location.search) history.replaceState(null, "", location.pathname);

const callbacks = new Map();
const state = { snap: {}, host: "page" };

const model = {
  get: (name) => state[name],
  on: (event, callback) => callbacks.set(event, [...(callbacks.get(event) ?? []), callback]),
  off: (event, callback) => callbacks.set(event, (callbacks.get(event) ?? []).filter((other) => other !== callback)),
  send: (message) => order(message.action),
};

function show(snap) {
  state.snap = snap;
  for (const callback of callbacks.get("change:snap") ?? []) callback();
}

const told = document.getElementById("connection");

async function order(action) {
  try {
    const answer = await fetch(`${API}/${action}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: action === "halt" ? JSON.stringify({ reason: "page" }) : "{}",
    });
    const { message } = await answer.json();
    told.textContent = message;
  } catch {
    told.textContent = `The desk did not answer: ${action} may not have arrived.`;
  }
}

let wait = SHORTEST_MS;

function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}${API}/stream?view=panel`);
  socket.onmessage = (event) => {
    wait = SHORTEST_MS;
    if (told.dataset.lost) {
      told.textContent = "";
      delete told.dataset.lost;
    }
    show(JSON.parse(event.data).snap);
  };
  socket.onclose = () => {
    told.textContent = "Not connected to the desk. Connecting again …";
    told.dataset.lost = "yes";
    show({ ...state.snap, stale: true });
    setTimeout(connect, wait);
    wait = Math.min(2 * wait, LONGEST_MS);
  };
}

panel.render({ model, el: document.getElementById("panel") });
connect();
