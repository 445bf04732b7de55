// Renders terminal colours (SGR) and no other terminal sequences: complete ones are dropped,
// incomplete ones shown. Characters that hide or change the direction of writing are shown as
// marks.

const SEQUENCE = /\x1b\[([0-9;:]*)m|\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[()][0-9A-B]/g;
// The same as in `master/src/http/web/text.rs`, except that tabs stay.
const HIDDEN = /[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

export const PLAIN = Object.freeze({});

// RGB of one of the 256 colours, from the 17th on.
function cube(number) {
  if (number >= 232) return Array(3).fill(8 + (number - 232) * 10);
  const level = (n) => (n === 0 ? 0 : 55 + n * 40);
  const at = number - 16;
  return [level(Math.floor(at / 36)), level(Math.floor(at / 6) % 6), level(at % 6)];
}

const isByte = (n) => Number.isInteger(n) && n >= 0 && n <= 255;

// Parses what follows 38 or 48: a colour, and the number of codes it took.
function wide(codes) {
  if (codes[0] === 5 && isByte(codes[1])) {
    return [codes[1] < 16 ? codes[1] : `rgb(${cube(codes[1]).join(', ')})`, 2];
  }
  const parts = codes.slice(1, 4);
  if (codes[0] === 2 && parts.length === 3 && parts.every(isByte)) return [`rgb(${parts.join(', ')})`, 4];
  return [undefined, codes.length];
}

function step(style, codes) {
  const next = { ...style };
  for (let at = 0; at < codes.length; at += 1) {
    const code = codes[at];
    if (code === 0) for (const key of Object.keys(next)) delete next[key];
    else if (code === 1) next.bold = true;
    else if (code === 2) next.faint = true;
    else if (code === 3) next.italic = true;
    else if (code === 4) next.underline = true;
    else if (code === 7) next.inverse = true;
    else if (code === 9) next.strike = true;
    else if (code === 22) next.bold = next.faint = undefined;
    else if (code === 23) next.italic = undefined;
    else if (code === 24) next.underline = undefined;
    else if (code === 27) next.inverse = undefined;
    else if (code === 29) next.strike = undefined;
    else if (code >= 30 && code <= 37) next.fg = code - 30;
    else if (code >= 90 && code <= 97) next.fg = code - 82;
    else if (code === 39) next.fg = undefined;
    else if (code >= 40 && code <= 47) next.bg = code - 40;
    else if (code >= 100 && code <= 107) next.bg = code - 92;
    else if (code === 49) next.bg = undefined;
    else if (code === 38 || code === 48) {
      const [colour, taken] = wide(codes.slice(at + 1));
      next[code === 38 ? 'fg' : 'bg'] = colour;
      at += taken;
    }
  }
  return next;
}

// Splits a line into pieces with their styles. Also returns the style at the start of the next
// line.
export function read(text, style = PLAIN) {
  const pieces = [];
  let from = 0;
  const add = (piece) => { if (piece) pieces.push({ text: piece, style }); };
  for (const found of text.matchAll(SEQUENCE)) {
    add(text.slice(from, found.index));
    from = found.index + found[0].length;
    if (found[1] !== undefined) style = step(style, found[1].split(/[;:]/).map(Number));
  }
  add(text.slice(from));
  return { pieces, style };
}

const FLAGS = ['bold', 'faint', 'italic', 'underline', 'inverse', 'strike'];

function dress(element, style) {
  for (const flag of FLAGS) if (style[flag]) element.classList.add(flag);
  for (const side of ['fg', 'bg']) {
    const colour = style[side];
    if (typeof colour === 'number') element.classList.add(`${side}${colour}`);
    else if (colour) element.style[side === 'fg' ? 'color' : 'backgroundColor'] = colour;
  }
}

function mark(c) {
  const element = document.createElement('span');
  element.className = 'mark';
  element.textContent = `U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}`;
  return element;
}

// Makes text nodes, so text never becomes markup.
function* nodes(text) {
  let from = 0;
  for (const found of text.matchAll(HIDDEN)) {
    if (found.index > from) yield document.createTextNode(text.slice(from, found.index));
    yield mark(found[0]);
    from = found.index + 1;
  }
  if (from < text.length) yield document.createTextNode(text.slice(from));
}

export function render(text, style) {
  const fragment = document.createDocumentFragment();
  for (const piece of read(text, style).pieces) {
    const span = document.createElement('span');
    dress(span, piece.style);
    span.append(...nodes(piece.text));
    fragment.append(span);
  }
  return fragment;
}
