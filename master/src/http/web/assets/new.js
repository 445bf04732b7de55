// Turns the form for a new job into a spec, shows the equivalent command lines, and submits it.

import { refusal } from './send.js';
import { cli, curl } from './twin.js';

const $ = (id) => document.getElementById(id);
const form = $('new');
const TEXTS = ['name', 'image', 'queue', 'timeout', 'network', 'workspace'];
const NUMBERS = ['maxRetries', 'priority'];
const LIMITS = { cpus: Number, memory: String, pids: Number, tmp: String };

const given = (id) => $(id).value.trim();

// Parses one `NAME=value` per line.
function pairs(id) {
  const all = {};
  for (const line of $(id).value.split('\n')) {
    if (line.trim() === '') continue;
    const at = line.indexOf('=');
    if (at <= 0) throw new Error(`${id}: ${line.trim()} is not of the form NAME=value`);
    all[line.slice(0, at).trim()] = line.slice(at + 1);
  }
  return all;
}

function number(id) {
  const value = Number(given(id));
  if (Number.isNaN(value)) throw new Error(`${id}: ${given(id)} is not a number`);
  return value;
}

function rest() {
  const text = given('rest');
  if (text === '') return {};
  let fields;
  try {
    fields = JSON.parse(text);
  } catch (error) {
    throw new Error(`More, as JSON: ${error.message}`);
  }
  if (fields === null || typeof fields !== 'object' || Array.isArray(fields)) throw new Error('More, as JSON: is not an object');
  return fields;
}

function spec() {
  const job = { command: $('command').value };
  for (const id of TEXTS) if (given(id)) job[id] = given(id);
  for (const id of NUMBERS) if (given(id)) job[id] = number(id);
  for (const [id, read] of Object.entries(LIMITS)) {
    if (!given(id)) continue;
    job.resources ??= {};
    job.resources[id] = read === Number ? number(id) : given(id);
  }
  const more = rest();
  for (const id of ['env', 'labels']) {
    const all = { ...more[id], ...pairs(id) };
    if (Object.keys(all).length > 0) job[id] = all;
    delete more[id];
  }
  if ($('stdin').value) job.stdin = $('stdin').value;
  return { ...job, ...more };
}

function wrong(text) {
  $('wrong').textContent = text;
  $('wrong').hidden = text === '';
}

function mirror() {
  try {
    const job = spec();
    $('twin-cli').textContent = cli(job);
    $('twin-curl').textContent = curl(job, location.origin);
    wrong('');
  } catch (error) {
    wrong(error.message);
  }
}

// The idempotency key. It changes with every edit, so a repeated submission is the same job.
let key;
function newKey() {
  key = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

// Marks the fields that an error names, and scrolls to the first.
function point(problem) {
  const names = problem.map(({ pointer }) => pointer.split('/').filter((word) => word && word !== 'resources')[0]);
  const fields = names.map((name) => $(name)).filter((field) => field && form.contains(field));
  for (const field of fields) field.setAttribute('aria-invalid', 'true');
  if (fields[0]) {
    fields[0].closest('details')?.setAttribute('open', '');
    fields[0].focus();
  }
}

async function submit() {
  const headers = { 'content-type': 'application/json', 'idempotency-key': key };
  const answer = await fetch(form.dataset.path, { method: 'POST', headers, body: JSON.stringify(spec()) });
  if (!answer.ok) {
    const { errors = [] } = await answer.clone().json().catch(() => ({}));
    wrong(await refusal(answer));
    return point(errors);
  }
  const jobs = [await answer.json()].flat();
  // A user who comes back to the form submits a new job.
  newKey();
  location.assign(`/jobs/${jobs[0].id}`);
}

form.addEventListener('input', (event) => {
  event.target.removeAttribute('aria-invalid');
  newKey();
  mirror();
});
form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const button = form.querySelector('button.primary');
  button.disabled = true;
  try {
    await submit();
  } catch (error) {
    wrong(error instanceof TypeError ? 'The master does not respond.' : error.message);
  } finally {
    button.disabled = false;
  }
});
$('command').addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
newKey();
mirror();
