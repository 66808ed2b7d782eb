// The page works without this: it only saves waiting. Everything it shows was made by the server.
"use strict";

const facts = document.body.dataset;
const ahead = facts.now ? facts.now * 1000 - Date.now() : 0; // the server's clock, seen from here

// -- spans of time: as the server writes them, and to the second in the last hour

function span(seconds) {
  const s = Math.max(0, Math.round(seconds)), two = n => String(n).padStart(2, "0");
  if (s < 3600) return `${Math.floor(s / 60)}:${two(s % 60)}`;
  if (s < 86400) return `${Math.floor(s / 3600)}h${two(Math.floor(s / 60) % 60)}m`;
  return `${Math.floor(s / 86400)}d${Math.floor(s / 3600) % 24}h`;
}

function past(seconds) {
  const s = Math.max(0, Math.round(seconds));
  return s < 60 ? `${s} s` : s < 3600 ? `${Math.floor(s / 60)}m` : span(s);
}

function tick() {
  const now = (Date.now() + ahead) / 1000;
  const write = (name, words) => {
    for (const time of document.querySelectorAll(`time[data-${name}]`)) {
      const text = words(Number(time.dataset[name]));
      if (time.textContent !== text) time.textContent = text;
    }
  };
  write("until", unix => (unix <= now ? "now" : span(unix - now)));
  write("since", unix => past(now - unix));
  write("ago", unix => `${past(now - unix)} ago`);
}

// -- copying

function uncover() {
  for (const button of document.querySelectorAll("button.copy[hidden]")) button.hidden = !navigator.clipboard;
}

document.addEventListener("click", async event => {
  const button = event.target.closest("button.copy");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not copied";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
});

// -- live updates: whole parts, by id; what has the focus keeps it

function renew(id, html) {
  const part = document.getElementById(id), selected = getSelection();
  if (!part) return true;
  if (!selected.isCollapsed && part.contains(selected.anchorNode)) return false; // somebody is about to copy it
  const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
  const unfolded = [...part.querySelectorAll("details[open] > summary")].map(summary => summary.id);
  const scrolled = [...part.querySelectorAll(".wide")].map(box => box.scrollLeft);
  part.innerHTML = html;
  for (const summary of unfolded) document.getElementById(summary)?.parentElement.setAttribute("open", "");
  part.querySelectorAll(".wide").forEach((box, index) => { box.scrollLeft = scrolled[index] || 0; });
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  return true;
}

let stream = null, waiting = {}, touched = false;

function listen() {
  if (!facts.events || "paused" in facts || stream || document.hidden) return;
  stream = new EventSource(facts.events);
  // The server knows now that scripts run here: the next page is not sent for anew by its `Refresh`.
  stream.onopen = () => { if ("reloads" in facts && !touched) location.replace(location.href); };
  stream.onmessage = event => {
    Object.assign(waiting, JSON.parse(event.data));
    for (const id of Object.keys(waiting)) if (renew(id, waiting[id])) delete waiting[id];
    document.getElementById("pace").textContent = "live";
    tick();
    uncover();
  };
  stream.onerror = () => {
    document.getElementById("pace").textContent = "not up to date: the connection is lost";
    if (stream.readyState === EventSource.CLOSED) { hush(); setTimeout(() => location.reload(), 10000); }
  };
}

function hush() { stream?.close(); stream = null; }

for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, () => { touched = true; }, true);

// A window that nobody sees keeps no connection: browsers have six for a host.
document.addEventListener("visibilitychange", () => (document.hidden ? hush() : listen()));
addEventListener("pagehide", hush);
addEventListener("pageshow", event => { if (event.persisted) location.reload(); }); // never an old page, nor a key again
tick();
uncover();
setInterval(tick, 1000);
listen();
