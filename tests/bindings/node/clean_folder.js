'use strict';
// The package as users get it: packed, and installed in an empty folder, from which programs run.

const { execFileSync, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { folder } = require('./lever');

class CleanFolder {
  constructor() {
    this.path = fs.mkdtempSync(path.join(os.tmpdir(), 'lever-package-'));
    const packed = this.run('npm', ['pack', '--silent', '--pack-destination', this.path, folder]);
    this.package = path.join(this.path, packed.trim());
    this.installed = path.join(this.path, 'node_modules', 'lever');
    this.write('package.json', '{"name": "user", "private": true}');
  }

  // Runs npm's install, of our package unless told otherwise: {status, stdout, stderr}.
  install(env = {}, flags = []) {
    fs.rmSync(path.join(this.path, 'node_modules'), { recursive: true, force: true });
    fs.rmSync(path.join(this.path, 'package-lock.json'), { force: true });
    return spawnSync('npm', ['install', '--offline', '--foreground-scripts', ...flags, this.package],
      this.#options(env));
  }

  write(name, text) {
    const file = path.join(this.path, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, text);
    return file;
  }

  // Its standard output; throws unless it succeeds.
  run(program, args, env = {}) {
    return execFileSync(program, args, this.#options(env));
  }

  remove() {
    fs.rmSync(this.path, { recursive: true, force: true });
  }

  #options(env) {
    return {
      cwd: this.path,
      encoding: 'utf8',
      timeout: 240000,
      env: {
        PATH: process.env.PATH,
        HOME: this.path,
        npm_config_cache: path.join(this.path, '.cache'),
        npm_config_audit: 'false',
        npm_config_fund: 'false',
        npm_config_update_notifier: 'false',
        ...env,
      },
    };
  }
}

module.exports = { CleanFolder };
