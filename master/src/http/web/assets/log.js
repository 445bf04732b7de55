// The log of a job. It opens at the tail, follows new output, and holds a bounded number of lines,
// however long the log is and however fast it grows.

import { render } from './ansi.js';
import { events, isBefore } from './events.js';
import { Lines, WIDTH, overwritten } from './lines.js';
import { Search } from './search.js';

// Number of lines to fetch at first, and with each step back.
const STEP = 1000;
const KEEP = 5000;
// No stored log has more lines than this.
const FURTHEST = 50_000_000;
const RETRIES = 5;
const RETRY_PAUSE = 3000;

const $ = (id) => document.getElementById(id);
const two = (number, digits = 2) => String(number).padStart(digits, '0');

function clock(micros) {
  const at = new Date(micros / 1000);
  if (Number.isNaN(at.getTime())) return '--:--:--';
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${two(at.getMilliseconds(), 3)}`;
}

class Log {
  constructor(section) {
    this.path = section.dataset.path;
    this.lines = $('log-lines');
    this.models = new WeakMap();
    this.search = new Search(this.lines, $('log-found'));
    section.querySelector('.tools').hidden = false;
    this.lines.hidden = false;
    this.listen();
    this.restart();
  }

  listen() {
    $('log-follow').addEventListener('click', () => {
      if (this.isFollowing) return this.follow(false);
      if (this.isPaused) return this.restart();
      this.follow(true);
    });
    $('log-times').addEventListener('click', (event) => {
      const on = this.lines.classList.toggle('times');
      event.currentTarget.setAttribute('aria-pressed', on);
    });
    for (const id of ['log-stream', 'log-attempt']) $(id)?.addEventListener('change', () => this.restart());
    $('log-search').addEventListener('input', (event) => this.search.set(event.target.value));
    $('log-search').addEventListener('keydown', (event) => {
      if (event.key !== 'Enter') return;
      event.preventDefault();
      this.find(event.shiftKey ? -1 : 1);
    });
    $('log-next').addEventListener('click', () => this.find(1));
    $('log-previous').addEventListener('click', () => this.find(-1));
    $('log-earlier').addEventListener('click', () => this.earlier());
    this.lines.addEventListener('scroll', () => this.scrolled(), { passive: true });
    document.addEventListener('visibilitychange', () => this.seen());
  }

  find(step) {
    this.follow(false);
    this.search.go(step);
  }

  // -- reading

  address(words) {
    const stream = $('log-stream').value;
    const attempt = $('log-attempt')?.value ?? '';
    const query = new URLSearchParams({ ...words, ...(stream !== 'all' && { stream }), ...(attempt && { attempt }) });
    return `${this.path}?${query}`;
  }

  restart() {
    this.close();
    Object.assign(this, { pending: [], dirty: new Set(), lastId: null, hasEnded: false, isPaused: false, failures: 0,
      isAtBeginning: false, isTorn: false });
    this.reader = new Lines((line) => this.begun(line), (line) => this.grown(line));
    this.lines.replaceChildren();
    $('log-earlier').hidden = true;
    this.search.tell();
    this.follow(true);
    this.open({ tail: STEP });
  }

  open(words) {
    this.close();
    const source = new EventSource(this.address(words));
    this.source = source;
    this.say('reading');
    source.addEventListener('open', () => this.say('live'));
    source.addEventListener('log', (event) => {
      this.failures = 0;
      this.lastId = event.lastEventId;
      this.reader.take(JSON.parse(event.data), event.lastEventId);
    });
    source.addEventListener('state', () => document.dispatchEvent(new Event('orchestra:changed')));
    source.addEventListener('end', () => {
      this.close();
      this.hasEnded = true;
      this.say('ended');
      this.plan();
      document.dispatchEvent(new Event('orchestra:changed'));
    });
    source.addEventListener('error', () => this.broken(source));
  }

  close() {
    clearTimeout(this.retry);
    this.source?.close();
    this.source = null;
  }

  // The browser reconnects by itself after a broken connection, but not after an error response.
  broken(source) {
    if (this.source !== source) return;
    if (source.readyState !== EventSource.CLOSED) return this.say('reconnecting');
    this.failures += 1;
    if (this.failures > RETRIES) return this.say('cannot be read; reload the page');
    this.say('reconnecting');
    this.retry = setTimeout(() => this.resume(), RETRY_PAUSE);
  }

  resume() {
    this.open(this.lastId ? { after: this.lastId } : { tail: STEP });
  }

  // Closes the connection while the page is hidden.
  seen() {
    if (this.hasEnded || this.isPaused) return;
    if (document.visibilityState === 'hidden') this.close();
    else if (!this.source) this.resume();
  }

  pause() {
    this.close();
    this.isPaused = true;
    this.say(this.hasEnded ? 'ended' : 'paused; Follow goes on at the end');
  }

  say(word) {
    const state = $('log-state');
    if (state.textContent !== word) state.textContent = word;
  }

  // -- rendering

  begun(line) {
    this.pending.push(line);
    if (this.pending.length > 2 * KEEP) {
      this.pending.splice(0, this.pending.length - KEEP);
      this.isTorn = true;
    }
    const count = this.lines.childElementCount + this.pending.length;
    if (!this.isFollowing && count >= KEEP && this.source) this.pause();
    this.plan();
  }

  grown(line) {
    this.dirty.add(line);
    this.plan();
  }

  plan() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.flush();
    });
  }

  flush() {
    if (this.isTorn) this.lines.replaceChildren();
    this.isTorn = false;
    const fresh = this.pending.slice(-KEEP);
    this.pending = [];
    for (const line of this.dirty) if (line.node?.isConnected) this.draw(line);
    this.dirty.clear();
    const fragment = document.createDocumentFragment();
    for (const line of fresh) fragment.append(this.draw(line));
    this.lines.append(fragment);
    while (this.lines.childElementCount > KEEP) this.lines.firstElementChild.remove();
    if (this.lines.childElementCount >= STEP) $('log-earlier').hidden = this.isAtBeginning;
    if (this.isFollowing) this.lines.scrollTop = this.lines.scrollHeight;
    if (this.search.text) this.search.tell();
    if (this.hasEnded && this.lines.childElementCount === 0) this.say('ended, without a word');
  }

  draw(line) {
    const node = line.node ?? document.createElement('div');
    line.node = node;
    this.models.set(node, line);
    node.className = `line ${line.stream}`;
    if (line.attempt !== undefined) node.dataset.attempt = line.attempt;
    const time = document.createElement('span');
    time.className = 'at';
    time.textContent = clock(line.time);
    const text = document.createElement('bdi');
    text.append(render(overwritten(line.text), line.style));
    if (line.cut > 0) {
      const cut = document.createElement('span');
      cut.className = 'mark';
      cut.textContent = `… ${line.cut.toLocaleString('en')} more characters, after ${WIDTH}`;
      text.append(cut);
    }
    node.replaceChildren(time, text);
    this.search.look(node);
    return node;
  }

  follow(on) {
    this.isFollowing = on;
    $('log-follow').setAttribute('aria-pressed', on);
    if (on) this.lines.scrollTop = this.lines.scrollHeight;
  }

  scrolled() {
    const { scrollTop, clientHeight, scrollHeight } = this.lines;
    const isAtEnd = scrollHeight - scrollTop - clientHeight < 40;
    if (isAtEnd === this.isFollowing || (isAtEnd && this.isPaused)) return;
    this.follow(isAtEnd);
  }

  // -- earlier lines

  async earlier() {
    const top = this.models.get(this.lines.firstElementChild);
    if (!top) return;
    const button = $('log-earlier');
    button.disabled = true;
    this.follow(false);
    this.pause();
    try {
      const found = await this.behind(top);
      this.isAtBeginning = found.length < STEP;
      this.prepend(found);
      button.hidden = this.isAtBeginning;
    } catch {
      this.say('the master does not respond');
    } finally {
      button.disabled = false;
    }
  }

  // Fetches ever longer tails, since it is unknown how many lines follow the top one in the log.
  async behind(top) {
    for (let tail = this.lines.childElementCount + STEP; tail < FURTHEST; tail *= 8) {
      const found = await this.before(top, tail);
      if (found.length > 0) return found;
    }
    return [];
  }

  async before(top, tail) {
    const leave = new AbortController();
    const found = [];
    const reader = new Lines((line) => found.push(line), () => {});
    try {
      for await (const { name, id, data } of events(this.address({ tail }), leave.signal)) {
        if (name === 'end' || isBefore(top.id, id)) break;
        if (name !== 'log') continue;
        reader.take(JSON.parse(data), id, id === top.id ? top.left : 0);
        if (id === top.id) break;
        if (found.length > 4 * KEEP) found.splice(0, found.length - KEEP);
      }
    } finally {
      leave.abort();
    }
    return found;
  }

  prepend(found) {
    const from = this.lines.scrollHeight - this.lines.scrollTop;
    const fragment = document.createDocumentFragment();
    for (const line of found.slice(-KEEP)) fragment.append(this.draw(line));
    this.lines.prepend(fragment);
    this.lines.scrollTop = this.lines.scrollHeight - from;
    while (this.lines.childElementCount > KEEP) this.lines.lastElementChild.remove();
    this.search.tell();
  }
}

const section = $('log');
if (section) new Log(section);
