// Buttons and small forms that change something, with one API call each. The master's templates
// write their attributes.

import { leave } from './live.js';

const METHODS = ['post', 'patch', 'delete'];
const SELECTOR = METHODS.map((method) => `[data-${method}]`).join(', ');
const SURE_FOR = 5000;

export function say(text, isWrong = false) {
  const line = document.getElementById('said');
  line.textContent = text;
  line.classList.toggle('wrong', isWrong);
  line.hidden = false;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { line.hidden = true; }, isWrong ? 15000 : 4000);
}

// An error response, in one line.
export async function refusal(answer) {
  try {
    const problem = await answer.json();
    const fields = (problem.errors ?? []).map((field) => `${field.pointer} ${field.detail}`);
    return [fields.length > 0 ? fields.join('; ') : problem.detail, problem.hint].filter(Boolean).join(' — ');
  } catch {
    return `the master responded with status ${answer.status}`;
  }
}

// Asks for a second click before something is deleted for good.
function isSure(button) {
  if (!button.dataset.sure || button.dataset.asked) return true;
  const text = button.textContent;
  button.dataset.asked = 'yes';
  button.textContent = button.dataset.sure;
  setTimeout(() => {
    delete button.dataset.asked;
    button.textContent = text;
  }, SURE_FOR);
  return false;
}

function body(from) {
  if (from.dataset.number) {
    const text = from.querySelector('input').value.trim();
    return JSON.stringify({ [from.dataset.number]: text === '' ? null : Number(text) });
  }
  return from.dataset.body;
}

async function send(from, method) {
  const options = { method: method.toUpperCase() };
  const content = body(from);
  if (content) Object.assign(options, { body: content, headers: { 'content-type': 'application/json' } });
  const answer = await fetch(from.dataset[method], options);
  if (!answer.ok) return say(await refusal(answer), true);
  const then = from.dataset.then;
  if (then) leave();
  say(answer.status === 202 ? 'Accepted. The worker still has to end the job.' : 'Done.');
  if (then === 'reload') location.reload();
  else if (then) location.assign(then);
  else document.dispatchEvent(new Event('orchestra:changed'));
}

async function act(event, from) {
  event.preventDefault();
  const method = METHODS.find((name) => name in from.dataset);
  if (from.dataset.busy || !isSure(from)) return;
  from.dataset.busy = 'yes';
  // A focused input would keep its part of the page from being refreshed.
  document.activeElement?.matches('input') && document.activeElement.blur();
  try {
    await send(from, method);
  } catch {
    say('The master does not respond.', true);
  } finally {
    delete from.dataset.busy;
  }
}

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
    say('Copied.');
  } catch {
    // Pages without https have no clipboard access. The text is selected instead, ready to be
    // copied.
    document.getSelection().selectAllChildren(source);
    say('Press Ctrl+C to copy.');
  }
}

export function start() {
  document.addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (!button) return;
    if (button.dataset.copy) copy(button);
    else if (button.matches(SELECTOR)) act(event, button);
  });
  document.addEventListener('submit', (event) => {
    if (event.target.matches(SELECTOR)) act(event, event.target);
  });
}
