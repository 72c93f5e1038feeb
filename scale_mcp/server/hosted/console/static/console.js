// Refreshes the parts of a page that are marked as live, while somebody looks at it. Everything works without.
"use strict";
(() => {
  const EVERY = 10000; // milliseconds
  const live = () => [...document.querySelectorAll("[data-live]")];
  if (!live().length) return;

  const bar = document.createElement("p");
  bar.className = "live";
  const told = document.createElement("span");
  const pause = document.createElement("button");
  pause.type = "button";
  pause.className = "quiet";
  bar.append(told, pause);
  document.querySelector("h1").after(bar);

  let paused = false;
  const tell = () => {
    told.textContent = paused ? "Updates are paused." : "Updates by itself.";
    pause.textContent = paused ? "Go on" : "Pause updates";
  };
  pause.addEventListener("click", () => { paused = !paused; tell(); });
  tell();

  // What somebody is in the middle of stays as it is.
  const inUse = (part) => part.contains(document.activeElement) || part.querySelector("details[open]") !== null || !getSelection().isCollapsed;

  const refresh = async () => {
    if (paused || document.hidden) return;
    const answer = await fetch(location.href, { credentials: "same-origin", cache: "no-store" });
    if (answer.redirected) return location.reload(); // the session is over
    if (!answer.ok) throw new Error(String(answer.status));
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of live()) {
      const next = fresh.getElementById(part.id);
      if (next !== null && !inUse(part)) part.replaceWith(document.adoptNode(next));
    }
    const count = document.querySelector("nav"), counted = fresh.querySelector("nav");
    if (count !== null && counted !== null && !count.contains(document.activeElement)) count.replaceWith(document.adoptNode(counted));
    tell();
  };
  setInterval(() => refresh().catch(() => { told.textContent = "The server does not answer; trying again."; }), EVERY);
})();
