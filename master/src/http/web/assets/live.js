// Refreshes the live parts of a page: fetches the page again, and replaces the parts that changed.
// The master has escaped them, as in the page itself.

import { show } from './time.js';

const PAUSE = 2000;
// The pause after a failure, so as not to add to the load of a busy master.
const LONG_PAUSE = 10000;
// The pause is at least this many times as long as the fetch took, to bound a page's share of the
// load.
const SHARE = 20;
let timer;
let isLeaving = false;
let asking = false;

const FOCUSABLE = 'a, button, summary, input[type="checkbox"], [tabindex]';

const parts = (from) => [...from.querySelectorAll('[data-live][id]')];

// A part that the user is working with is not replaced.
const isInUse = (part) => {
  const active = document.activeElement;
  if (active && active !== part && part.contains(active) && active.matches('input:not([type="checkbox"]), textarea, [data-sure]')) return true;
  const chosen = document.getSelection();
  return !!chosen && !chosen.isCollapsed && part.contains(chosen.anchorNode);
};

// The index of the focused element, so that its focus can be restored.
const place = (part) => {
  const active = document.activeElement;
  const all = [...part.querySelectorAll(FOCUSABLE)];
  return part.contains(active) ? all.indexOf(active) : -1;
};

// Keeps ticked checkboxes, and open details by their position.
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
    // Redirected to the sign-in: the token is no longer valid.
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

// Stops refreshing before a navigation: the page's subject may be deleted by now.
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
