// Server-sent events of a single request, for reading a part of a log. To follow a log, EventSource
// is used.

function parsed(block) {
  const event = { name: 'message', id: '', data: '' };
  for (const line of block.split('\n')) {
    const at = line.indexOf(':');
    if (at <= 0) continue;
    const value = line.slice(at + 1).replace(/^ /, '');
    const field = line.slice(0, at);
    if (field === 'event') event.name = value;
    else if (field === 'id') event.id = value;
    else if (field === 'data') event.data += (event.data && '\n') + value;
  }
  return event;
}

export async function* events(address, signal) {
  const answer = await fetch(address, { signal, headers: { accept: 'text/event-stream' } });
  if (!answer.ok) throw new Error(`the master responded with status ${answer.status}`);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    const blocks = held.split('\n\n');
    held = blocks.pop();
    for (const block of blocks) yield parsed(block);
  }
}

// Whether a log position comes before another.
export function isBefore(one, other) {
  const [[attempt, offset], [than, place]] = [one, other].map((id) => id.split('-').map(Number));
  return attempt < than || (attempt === than && offset < place);
}
