// Shows times in the reader's time zone, and ages.

const UNITS = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];

function length(seconds) {
  const [size, unit] = UNITS.find(([size]) => seconds >= size) ?? [1, 's'];
  return `${Math.floor(seconds / size)} ${unit}`;
}

function running(seconds) {
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  if (hours > 0) return `${hours} h ${minutes} m`;
  return minutes > 0 ? `${minutes} m ${seconds % 60} s` : `${seconds} s`;
}

const day = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

export function show(within = document) {
  for (const time of within.querySelectorAll('time[datetime]')) {
    const at = new Date(time.dateTime);
    const seconds = Math.max(0, Math.floor((Date.now() - at) / 1000));
    let text = day.format(at);
    if ('age' in time.dataset) {
      text = time.closest('.age') ? length(seconds) : `${length(seconds)} ago`;
    } else if ('since' in time.dataset) {
      text = running(seconds);
    }
    if (time.textContent !== text) time.textContent = text;
    if (!time.title) time.title = `${day.format(at)} (${time.dateTime})`;
  }
}
