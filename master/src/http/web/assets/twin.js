// Renders a spec as a command line.

const WORD = /^[A-Za-z0-9_./:=@%+,-]+$/;

export function quoted(text) {
  return WORD.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

export function curl(spec, origin) {
  const body = quoted(JSON.stringify(spec, null, 1).replace(/\n\s*/g, ' '));
  return `curl ${quoted(`${origin}/api/job`)} -H 'content-type: application/json' -d ${body}`;
}

const FLAGS = {
  name: '--name', image: '--image', queue: '--queue', timeout: '--timeout', maxRetries: '--retries',
  priority: '--priority', network: '--network', lease: '--lease', maxLog: '--max-log', delay: '--delay',
};
const LIMITS = { cpus: '--cpus', memory: '--memory', pids: '--pids', tmp: '--tmp' };
const PAIRS = { env: '-e', labels: '-l', requires: '--require' };
const KNOWN = new Set([...Object.keys(FLAGS), ...Object.keys(PAIRS), 'command', 'resources', 'workspace']);

// Specs with fields that have no option are passed as a file.
function file(spec) {
  const marker = 'JOB';
  return `orchestra submit -f - <<'${marker}'\n${JSON.stringify(spec, null, 2)}\n${marker}`;
}

export function cli(spec) {
  if (Object.keys(spec).some((name) => !KNOWN.has(name))) return file(spec);
  const words = ['orchestra', 'submit'];
  for (const [name, flag] of Object.entries(FLAGS)) {
    if (spec[name] !== undefined) words.push(flag, quoted(String(spec[name])));
  }
  for (const [name, flag] of Object.entries(LIMITS)) {
    if (spec.resources?.[name] !== undefined) words.push(flag, quoted(String(spec.resources[name])));
  }
  for (const [name, flag] of Object.entries(PAIRS)) {
    for (const [key, value] of Object.entries(spec[name] ?? {})) words.push(flag, quoted(`${key}=${value}`));
  }
  if (spec.workspace === 'private') words.push('--private');
  const command = spec.command ?? '';
  // Otherwise it would be taken for an option.
  if (command.startsWith('-')) words.push('--');
  return [...words, quoted(command) || "''"].join(' ');
}
