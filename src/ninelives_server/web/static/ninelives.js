// What pages can do better with JavaScript. Each page also works without this file, except for liveness.
"use strict";

// A read-only value with a button that copies it.
customElements.define("copy-box", class extends HTMLElement {
  connectedCallback() {
    const input = this.querySelector("input");
    if (!input || this.querySelector("button")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    const name = input.getAttribute("aria-label") || (input.labels[0] && input.labels[0].textContent) || "value";
    button.setAttribute("aria-label", `Copy ${name}`);
    const said = document.createElement("span");
    said.className = "quiet-to-eyes";
    said.setAttribute("role", "status");
    button.addEventListener("click", async () => {
      const done = await copy(input);
      button.textContent = done ? "Copied" : "Press Ctrl-C";
      said.textContent = button.textContent;
      setTimeout(() => { button.textContent = "Copy"; said.textContent = ""; }, 2000);
    });
    this.append(button, said);
  }
});

async function copy(input) {
  try {
    await navigator.clipboard.writeText(input.value);
    return true;
  } catch {
    // Plain http other than localhost has no clipboard; the selection is there to be copied by hand.
    input.focus();
    input.select();
    return document.execCommand ? document.execCommand("copy") : false;
  }
}

// Times: UTC as the server wrote them, or this browser's own zone.
const TIMES = "ninelives.times";

function isLocal() {
  try { return localStorage.getItem(TIMES) === "local"; } catch { return false; }
}

function timeText(at, local, clock) {
  const two = (number) => String(number).padStart(2, "0");
  const part = (name) => local ? at["get" + name]() : at["getUTC" + name]();
  const day = `${part("FullYear")}-${two(part("Month") + 1)}-${two(part("Date"))}`;
  const time = `${two(part("Hours"))}:${two(part("Minutes"))}:${two(part("Seconds"))}`;
  if (clock) return time;
  if (!local) return `${day} ${time} UTC`;
  const offset = -at.getTimezoneOffset();
  const sign = offset < 0 ? "-" : "+";
  return `${day} ${time} ${sign}${two(Math.floor(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`;
}

function showTimes(root) {
  const local = isLocal();
  for (const time of root.querySelectorAll("time[datetime]")) {
    const text = timeText(new Date(time.dateTime), local, "clock" in time.dataset);
    if (time.textContent !== text) time.textContent = text;
  }
}

customElements.define("time-switch", class extends HTMLElement {
  connectedCallback() {
    if (this.firstChild) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "plain";
    const show = () => {
      button.textContent = isLocal() ? "Times: local" : "Times: UTC";
      button.title = isLocal() ? "Show times in UTC" : "Show times in your own zone";
    };
    button.addEventListener("click", () => {
      try { localStorage.setItem(TIMES, isLocal() ? "utc" : "local"); } catch { /* not kept, then */ }
      show();
      showTimes(document);
    });
    show();
    this.append(button);
  }
});

// How long something has been under way.
function span(seconds) {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.floor(seconds);
  for (const [size, unit, below, small] of [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]]) {
    if (whole < size) continue;
    const rest = Math.floor((whole % size) / below);
    return `${Math.floor(whole / size)} ${unit}` + (rest ? ` ${rest} ${small}` : "");
  }
  return `${whole} s`;
}

function showElapsed() {
  for (const element of document.querySelectorAll("elapsed-time[data-since]")) {
    element.textContent = span(Math.max(0, (Date.now() - Date.parse(element.dataset.since)) / 1000));
  }
}
setInterval(showElapsed, 1000);

// An authorisation goes on in another tab: the tab that stays behind follows it to the page that explains.
// Both tabs are ours, so the channel reaches them whatever the provider's pages do to `window.opener`.
const FLOWS = "ninelives.flows";

customElements.define("flow-begun", class extends HTMLElement {
  connectedCallback() {
    if (!("BroadcastChannel" in window)) return;
    const channel = new BroadcastChannel(FLOWS);
    channel.postMessage({ connection: this.dataset.connection, flow: this.dataset.flow });
    channel.close();
  }
});

customElements.define("flow-follow", class extends HTMLElement {
  connectedCallback() {
    if (!("BroadcastChannel" in window) || !this.dataset.connection) return;
    this.channel = new BroadcastChannel(FLOWS);
    this.channel.addEventListener("message", (event) => {
      const told = event.data || {};
      if (told.connection !== this.dataset.connection || !/^[\w-]+$/.test(told.flow || "")) return;
      location.assign(`${this.dataset.wait}/${told.flow}`);
    });
  }
  disconnectedCallback() {
    if (this.channel) this.channel.close();
  }
});

// A form that opens a tab must not be sent twice from here; the page follows by itself.
document.addEventListener("submit", (event) => {
  const button = event.submitter;
  if (event.target.target === "_blank" || !button || event.defaultPrevented) return;
  // After the form's data is taken, or the button's own value would be lost.
  setTimeout(() => { button.disabled = true; }, 0);
});
addEventListener("pageshow", (event) => {
  if (event.persisted) for (const button of document.querySelectorAll("button:disabled")) button.disabled = false;
});

// A log that is read at its end stays at its end; one that was scrolled up stays where it is.
function atEnd(log) { return log.scrollHeight - log.scrollTop - log.clientHeight < 24; }
let logs = new Map();
document.addEventListener("htmx:before:swap", () => {
  logs = new Map([...document.querySelectorAll("[role=log]")].map((log) => [log.getAttribute("aria-label"), atEnd(log)]));
});
function keepLogs() {
  for (const log of document.querySelectorAll("[role=log]")) {
    const stays = logs.get(log.getAttribute("aria-label"));
    if (stays !== false) log.scrollTop = log.scrollHeight;
  }
}

document.addEventListener("htmx:after:swap", () => { showTimes(document); showElapsed(); keepLogs(); });
document.addEventListener("DOMContentLoaded", () => { showTimes(document); keepLogs(); });
