// Searches the lines that are shown.

export class Search {
  constructor(lines, found) {
    Object.assign(this, { lines, found, text: '', current: null });
  }

  isHit(node) {
    return this.text !== '' && node.lastChild.textContent.toLowerCase().includes(this.text);
  }

  // Updates a line that is new or has grown.
  look(node) {
    node.classList.toggle('hit', this.isHit(node));
  }

  set(text) {
    this.text = text.toLowerCase();
    for (const node of this.lines.children) this.look(node);
    this.current = null;
    this.tell();
  }

  // Moves to the next or previous hit, at first to the last one.
  go(step) {
    const hits = [...this.lines.querySelectorAll('.hit')];
    if (hits.length === 0) return this.tell();
    const at = hits.indexOf(this.current);
    const next = at < 0 ? hits.length - 1 : (at + step + hits.length) % hits.length;
    this.current?.classList.remove('current');
    this.current = hits[next];
    this.current.classList.add('current');
    this.current.scrollIntoView({ block: 'center' });
    this.tell();
  }

  tell() {
    if (this.text === '') { this.found.textContent = ''; return; }
    const hits = [...this.lines.querySelectorAll('.hit')];
    const at = hits.indexOf(this.current);
    this.found.textContent = at < 0 ? `${hits.length} lines` : `${at + 1} of ${hits.length}`;
  }
}
