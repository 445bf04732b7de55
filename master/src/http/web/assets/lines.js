// Splits output into lines. Each stream may have one open line. Characters beyond the width are
// counted but not kept.

import { PLAIN, read } from './ansi.js';

export const WIDTH = 4000;

// Bytes that are not UTF-8 arrive as base64. A character may be split between two pieces.
function decoded(event, decoders) {
  const stream = event.stream;
  if (event.base64 === undefined) {
    const left = decoders.get(stream)?.decode() ?? '';
    decoders.delete(stream);
    return left + event.text;
  }
  const bytes = Uint8Array.from(atob(event.base64), (c) => c.charCodeAt(0));
  if (!decoders.has(stream)) decoders.set(stream, new TextDecoder());
  return decoders.get(stream).decode(bytes, { stream: true });
}

export class Lines {
  // `onLine` is called when a line begins, `onMore` when it grows.
  constructor(onLine, onMore) {
    Object.assign(this, { onLine, onMore, open: new Map(), styles: new Map(), decoders: new Map() });
  }

  // `id` is the event's id. `until` is the length of the text at its end that is known already.
  take(event, id, until = 0) {
    if (event.gap !== undefined) {
      const text = `${event.gap.toLocaleString('en')} bytes were left out here`;
      return this.begin({ ...event, stream: 'gap' }, id, 0).text = text;
    }
    let text = decoded(event, this.decoders);
    if (until > 0) text = text.slice(0, Math.max(0, text.length - until));
    let at = 0;
    while (at < text.length) {
      const end = text.indexOf('\n', at);
      const line = this.open.get(event.stream) ?? this.begin(event, id, text.length - at);
      this.grow(line, text.slice(at, end < 0 ? undefined : end));
      if (end < 0) return;
      this.end(line);
      at = end + 1;
    }
  }

  begin({ attempt, stream, time }, id, left) {
    const style = this.styles.get(stream) ?? PLAIN;
    // `left`: length of the event's text from the start of this line on.
    const line = { attempt, stream, time, id, left, style, text: '', cut: 0 };
    if (stream !== 'gap') this.open.set(stream, line);
    this.onLine(line);
    return line;
  }

  grow(line, text) {
    const room = Math.max(0, WIDTH - line.text.length);
    line.text += text.slice(0, room);
    line.cut += Math.max(0, text.length - room);
    this.onMore(line);
  }

  end(line) {
    this.open.delete(line.stream);
    this.styles.set(line.stream, line.cut > 0 ? PLAIN : read(line.text, line.style).style);
  }
}

// What a terminal would show of a line that overwrites itself with carriage returns.
export function overwritten(text) {
  const line = text.endsWith('\r') ? text.slice(0, -1) : text;
  return line.slice(line.lastIndexOf('\r') + 1);
}
