// Server-sent events of one request, for what is read once and left early; what is
// followed goes through EventSource.

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
  if (!answer.ok) throw new Error(`the master answered ${answer.status}`);
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

// Whether a position in a log comes before another.
export function isBefore(one, other) {
  const [[attempt, offset], [than, place]] = [one, other].map((id) => id.split('-').map(Number));
  return attempt < than || (attempt === than && offset < place);
}
