// Call one exported function as a task: `runner.mjs FILE#FUNCTION input.json output.json`, or run FILE alone.
//
// One file with nothing but Node's own modules, Node 18 or later: it is copied beside its input and run in the working directory of
// the task. It imports FILE, an ES module or a CommonJS one, whose ending may be left out, calls the function with the variables,
// awaits it, and writes in one piece what it returned, stored and exported, or its error.
//
// User code sees globalThis.dagrun: params, store(map), exports(map), addSubtask(map).

import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { inspect } from 'node:util';

const [called, input, output] = process.argv.slice(2);
const { params } = JSON.parse(readFileSync(input, 'utf8'));
let written = false;
const result = { subtask_config: {}, export_params: {}, store_params: {} };

globalThis.dagrun = {
  params,
  store: (values) => Object.assign(result.store_params, plain(values, 'store')),
  exports: (values) => Object.assign(result.export_params, plain(values, 'exports')),
  addSubtask: (config) => {
    result.subtask_config[`+subtask${Object.keys(result.subtask_config).length}`] = plain(config, 'addSubtask');
  },
};

// The map as it will arrive. JSON would turn NaN into null without a word.
function plain(values, what) {
  if (values === null || typeof values !== 'object' || Array.isArray(values)) {
    throw new TypeError(`${what} takes a map, like {rows: 3}`);
  }
  return JSON.parse(JSON.stringify(values, (key, value) => {
    if (typeof value === 'number' && !Number.isFinite(value)) throw new TypeError(`${key}: ${value} is not a JSON value`);
    return value;
  }));
}

function write(content) {
  written = true;
  writeFileSync(`${output}.part`, JSON.stringify(content));
  renameSync(`${output}.part`, output);
}

function located(file) {
  const names = /\.[mc]?js$/.test(file) ? [file] : ['.js', '.mjs', '.cjs'].map((ending) => file + ending);
  const found = names.find((name) => existsSync(name));
  if (!found) throw new Error(`File not found: ${names.join(', or ')} (in the working directory)`);
  return pathToFileURL(resolve(found)).href;
}

function find(module, name) {
  for (const place of [module, module.default]) {
    if (place && typeof place[name] === 'function') return place[name].bind(place);
  }
  const names = Object.keys({ ...module.default, ...module }).filter((key) => key !== 'default');
  throw new TypeError(`no function ${name} is exported; there are: ${names.join(', ') || 'none'}`);
}

function told(error) {
  const own = error instanceof Error ? error : new Error(typeof error === 'string' ? error : inspect(error));
  const frames = (own.stack || '').split('\n').filter((line) => /^\s+at /.test(line) && !line.includes('runner.mjs') && !line.includes('node:internal'));
  return { class: own.constructor.name, message: own.message, backtrace: frames.map((line) => `${line}\n`) };
}

// User code may end the process itself, leave work behind that fails, or wait for ever.
process.on('uncaughtExceptionMonitor', (error) => write({ error: told(error) }));
process.on('beforeExit', () => written || ended(1, 'it waits for something that nothing can bring about any more'));
process.on('exit', (code) => written || (code ? ended(code, `process.exit(${code})`) : write(result)));

function ended(code, message) {
  write({ error: { class: 'Exit', message, backtrace: [] } });
  process.exitCode = code;
}

try {
  const end = called.lastIndexOf('#');
  const [file, name] = [called.slice(0, end), called.slice(end + 1)];
  const module = await import(located(file));
  if (name) {
    const returned = await find(module, name)(params);
    if (returned !== undefined && returned !== null) dagrun.store(returned);
  }
  write(result);
} catch (error) {
  console.error(error);
  write({ error: told(error) });
  process.exitCode = 1;
}
