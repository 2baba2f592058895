// Comfort only: the pages work without it.
"use strict";

const EVERY_MS = 3000;
const rows = () => [...document.querySelectorAll("a.row, summary.row")];
const isTyping = () => document.activeElement?.matches("input:not([type=checkbox])");

// Remembered for the tab; a browser that forbids that only forgets it.
function remember(on) {
  try {
    if (on === undefined) return sessionStorage.getItem("refresh") === "1";
    sessionStorage.setItem("refresh", on ? "1" : "0");
  } catch {}
  return on;
}

const refresh = document.getElementById("refresh");
if (refresh) {
  let on = remember();
  const show = () => refresh.setAttribute("aria-pressed", String(Boolean(on)));
  refresh.hidden = false;
  refresh.addEventListener("click", () => {
    on = remember(!on);
    show();
  });
  setInterval(() => {
    if (on && !document.hidden && !isTyping()) location.reload();
  }, EVERY_MS);
  show();
}

function move(by) {
  const all = rows();
  const at = all.findIndex((row) => row === document.activeElement || row.parentElement.contains(document.activeElement));
  const next = at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + by, 0), all.length - 1);
  all[next]?.focus();
  all[next]?.scrollIntoView({ block: "nearest" });
}

function unfold(open) {
  for (const span of document.querySelectorAll("details.span")) span.open = open;
}

const KEYS = {
  j: () => move(1),
  k: () => move(-1),
  e: () => unfold(true),
  c: () => unfold(false),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") document.activeElement?.blur();
  if (isTyping()) return;
  const target = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (target) {
    event.preventDefault();
    target.matches("a") ? target.click() : target.focus();
  } else if (Object.hasOwn(KEYS, event.key)) {
    event.preventDefault();
    KEYS[event.key]();
  }
});

for (const hint of document.querySelectorAll(".keys")) hint.hidden = false;

// A link to a span unfolds it.
function unfoldTarget() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target && target.matches("details")) target.open = true;
}
addEventListener("hashchange", unfoldTarget);
unfoldTarget();
