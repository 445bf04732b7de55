// Keeps the parts of a page fresh that say so: the page is asked for again, and the parts
// that have changed are put in. They come escaped from the master, as the page itself did.

import { show } from './time.js';

const PAUSE = 2000;
// After a failure, so that a master that is busy is not asked the more often.
const LONG_PAUSE = 10000;
// What took long to find is looked for less often: a page costs so small a part of the time.
const SHARE = 20;
let timer;
let isLeaving = false;
let asking = false;

const FOCUSABLE = 'a, button, summary, input[type="checkbox"], [tabindex]';

const parts = (from) => [...from.querySelectorAll('[data-live][id]')];

// Nothing is taken away from under somebody's hands.
const isInUse = (part) => {
  const active = document.activeElement;
  if (active && active !== part && part.contains(active) && active.matches('input:not([type="checkbox"]), textarea, [data-sure]')) return true;
  const chosen = document.getSelection();
  return !!chosen && !chosen.isCollapsed && part.contains(chosen.anchorNode);
};

// Where the keyboard was, so that it is there again.
const place = (part) => {
  const active = document.activeElement;
  const all = [...part.querySelectorAll(FOCUSABLE)];
  return part.contains(active) ? all.indexOf(active) : -1;
};

// What somebody has ticked stays ticked, and what is opened stays open, by its place.
function keep(from, to) {
  const opened = [...from.querySelectorAll('details')].map((it) => it.open);
  const next = [...to.querySelectorAll('details')];
  if (next.length === opened.length) next.forEach((it, at) => { it.open = opened[at]; });
  const ticked = new Set([...from.querySelectorAll('input[type="checkbox"]:checked')].map((box) => box.value));
  for (const box of to.querySelectorAll('input[type="checkbox"]')) box.checked = ticked.has(box.value);
}

function put(fresh) {
  for (const part of parts(document)) {
    const next = fresh.getElementById(part.id);
    if (!next || isInUse(part)) continue;
    show(next);
    if (next.isEqualNode(part)) continue;
    const at = place(part);
    const copy = document.importNode(next, true);
    keep(part, copy);
    part.replaceWith(copy);
    if (at >= 0) copy.querySelectorAll(FOCUSABLE)[at]?.focus({ preventScroll: true });
  }
}

export async function refresh() {
  if (asking) return;
  asking = true;
  clearTimeout(timer);
  let pause = PAUSE;
  const begun = performance.now();
  try {
    const answer = await fetch(location.href, { headers: { accept: 'text/html' } });
    // The token is gone: the page itself says what to do.
    if (answer.redirected) return location.reload();
    if (answer.ok) {
      const text = await answer.text();
      pause = Math.max(PAUSE, (performance.now() - begun) * SHARE);
      put(new DOMParser().parseFromString(text, 'text/html'));
    } else if (answer.status === 404) pause = Infinity;
    else pause = LONG_PAUSE;
  } catch {
    pause = LONG_PAUSE;
  } finally {
    asking = false;
  }
  document.dispatchEvent(new Event('orchestra:fresh'));
  plan(pause);
}

function plan(pause) {
  clearTimeout(timer);
  if (document.visibilityState === 'visible' && pause !== Infinity && !isLeaving) timer = setTimeout(refresh, pause);
}

// What the page is about may be gone by now.
export function leave() {
  isLeaving = true;
  clearTimeout(timer);
}

export function start() {
  if (parts(document).length === 0) return;
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible') refresh();
    else clearTimeout(timer);
  });
  document.addEventListener('orchestra:changed', refresh);
  plan(PAUSE);
}
