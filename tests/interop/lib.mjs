// What the peers share: running the program, reading the input file and a CAR as other people's
// libraries see them, a nats-server of one's own, a test that is skipped where its parts are absent.
//
// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { webcrypto } from 'node:crypto';
import { createReadStream, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync }
    from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';

import { CarBlockIterator } from '@ipld/car';
import * as dagCbor from '@ipld/dag-cbor';
import { sha256 } from 'multiformats/hashes/sha2';

// Node.js 18 has it, but not under the name that the NATS client looks for.
globalThis.crypto ??= webcrypto;

export const DAG_CBOR = 0x71;
const SHA2_256 = 0x12;
const SKIPPED = 77;

export class Skip extends Error {}

// run(body): a test in a folder of its own, which is removed; body gets {quipu, dir}. The program is
// the first argument of the command line.
export async function run(body) {
    const quipu = process.argv[2];
    const dir = mkdtempSync(path.join(tmpdir(), 'quipu-interop-'));
    try {
        await body({ quipu, dir });
    } catch (error) {
        if (error instanceof Skip) {
            console.log(`skipped: ${error.message}`);
            process.exitCode = SKIPPED;
        } else {
            console.error(error);
            process.exitCode = 1;
        }
    } finally {
        rmSync(dir, { recursive: true, force: true });
    }
}

// Folder with data/ and vectors/, which lies beside the project and not in it.
export function shared(name) {
    const file = path.join(process.env.QUIPU_SHARED_DIR ?? '', name);
    if (!process.env.QUIPU_SHARED_DIR || !existsSync(file)) {
        throw new Skip(`there is no ${name} in QUIPU_SHARED_DIR`);
    }
    return file;
}

// ---------------------------------------------------------------------------- the program

// A store and the verbs on it. Every call must succeed; what it prints with --json is returned as
// objects. A sanitizer's report goes to stderr and so into the test's output.
export class Store {
    constructor(quipu, folder) {
        this.quipu = quipu;
        this.folder = folder;
        this.call(['init']);
    }

    call(args, input) {
        const out = execFileSync(this.quipu, ['--store', this.folder, '--json', ...args], {
            input: input ?? '',
            maxBuffer: 1 << 28,
            stdio: ['pipe', 'pipe', 'inherit'],
        });
        return out.toString().split('\n').filter((line) => line !== '').map((line) => JSON.parse(line));
    }

    one(args, input) {
        const objects = this.call(args, input);
        assert.equal(objects.length, 1, `${args.join(' ')} printed ${objects.length} objects`);
        return objects[0];
    }
}

// ---------------------------------------------------------------------------- the input

// The lines of the input file, each as an object, and their bytes for `quipu append`.
export function readInput() {
    const bytes = gunzipSync(readFileSync(shared('data/root-signing.events.jsonl.gz')));
    const events = bytes.toString().split('\n').filter((line) => line !== '')
        .map((line) => JSON.parse(line));
    assert.equal(events.length, 3288);
    return { bytes, events };
}

export function uuidBytes(text) {
    assert.match(text, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    return new Uint8Array(Buffer.from(text.replaceAll('-', ''), 'hex'));
}

export function uuidText(bytes) {
    return Buffer.from(bytes).toString('hex').replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, '$1-$2-$3-$4-$5');
}

// ---------------------------------------------------------------------------- a CAR

// Every block of a CARv1 under its CID's text, hashed again by multiformats; one root.
export async function readCar(file) {
    const car = await CarBlockIterator.fromIterable(createReadStream(file));
    assert.equal(car.version, 1);
    const roots = await car.getRoots();
    assert.equal(roots.length, 1);

    const blocks = new Map();
    for await (const { cid, bytes } of car) {
        assert.equal(cid.version, 1);
        assert.equal(cid.code, DAG_CBOR, `${cid} is not dag-cbor`);
        assert.equal(cid.multihash.code, SHA2_256, `${cid} is not sha2-256`);
        const digest = await sha256.digest(bytes);
        assert.deepEqual(digest.bytes, cid.multihash.bytes, `${cid} does not name its bytes`);
        assert.ok(!blocks.has(cid.toString()), `${cid} is in the CAR twice`);
        blocks.set(cid.toString(), bytes);
    }
    assert.ok(blocks.has(roots[0].toString()), 'the root is not in the CAR');
    return { root: roots[0], blocks };
}

// The block under a CID, decoded; encoding it again must give the very bytes.
export function decodeBlock(blocks, cid) {
    const bytes = blocks.get(cid.toString());
    assert.ok(bytes !== undefined, `${cid} is not in the CAR`);
    const value = dagCbor.decode(bytes);
    assert.deepEqual(Buffer.from(dagCbor.encode(value)), Buffer.from(bytes),
        `${cid}: @ipld/dag-cbor encodes it otherwise`);
    return value;
}

// The events of a bundle in their order: {cid, envelope, payload}.
export function bundleEvents({ root, blocks }) {
    const { manifest: manifestCid } = decodeBlock(blocks, root);
    const manifest = decodeBlock(blocks, manifestCid);
    const events = manifest.events.map((cid) => {
        const envelope = decodeBlock(blocks, cid);
        return { cid, envelope, payload: decodeBlock(blocks, envelope.payload) };
    });
    return { manifest, manifestCid, events };
}

// ---------------------------------------------------------------------------- nats-server

// A nats-server with JetStream on 127.0.0.1, on a port that it chooses itself, with a store folder of
// its own. It ends with this process, whatever ends that.
export async function startServer(dir) {
    if (spawnSync('nats-server', ['--version']).error) {
        throw new Skip('there is no nats-server');
    }
    const ports = path.join(dir, 'ports');
    mkdirSync(ports);
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'nats-server', '-js', '-a', '127.0.0.1',
        '-p', '-1', '-sd', path.join(dir, 'jetstream'), '--ports_file_dir', ports,
        '-l', path.join(dir, 'nats.log')], { stdio: 'ignore' });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    const stop = async () => {
        child.kill('SIGTERM');
        await ended;
    };

    const deadline = Date.now() + 20000;
    while (Date.now() < deadline && child.exitCode === null) {
        const file = readdirSync(ports).find((name) => name.endsWith('.ports'));
        const text = file === undefined ? '' : readFileSync(path.join(ports, file), 'utf8');
        if (text.trim().endsWith('}')) {
            return { url: JSON.parse(text).nats[0], stop };
        }
        await new Promise((resolve) => { setTimeout(resolve, 10); });
    }
    await stop();
    throw new Error(`nats-server does not start:\n${readFileSync(path.join(dir, 'nats.log'), 'utf8')}`);
}
