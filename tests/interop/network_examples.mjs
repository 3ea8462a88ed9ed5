// The examples that need a server, spoken to by NATS's own JavaScript client: a host's loop with a
// bridge in it, and request and reply of an owner space.
//
// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import path from 'node:path';

import { connect } from '@nats-io/transport-node';

import { run, startServer } from './lib.mjs';

function start(program, args) {
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    const state = { child, out: '' };
    child.stdout.on('data', (bytes) => { state.out += bytes.toString(); });
    state.ended = new Promise((resolve) => { child.once('close', (code) => resolve(code)); });
    return state;
}

async function until(is, what) {
    for (let tries = 0; tries < 2000; tries += 1) {
        if (await is()) {
            return;
        }
        await new Promise((resolve) => { setTimeout(resolve, 10); });
    }
    throw new Error(`never: ${what}`);
}

async function tryBridge(folder, url, nc) {
    const bridge = start(path.join(folder, 'example_bridge'), [url, 'host.lines']);
    await until(() => { nc.publish('host.lines', 'from the peer'); return bridge.out !== ''; },
        'a line from the peer');
    assert.match(bridge.out, /^host\.lines: from the peer\n/);
    bridge.child.stdin.end('from the host\nand again\n');
    assert.equal(await bridge.ended, 0);
    assert.ok(bridge.out.includes('host.lines: from the host\nhost.lines: and again\n'), bridge.out);
}

async function tryOwnerSpace(folder, url, nc, dir) {
    const found = [];
    const subscription = nc.subscribe('OwnerSpace.g1.forApp.>', {
        callback: (error, message) => { found.push([message.subject, message.json()]); },
    });
    const space = start(path.join(folder, 'example_owner_space'), [path.join(dir, 'store'), url, 'g1']);
    await until(() => nc.request('health.owner-space', '', { timeout: 500 })
        .then(() => true, () => false), 'health');
    nc.publish('OwnerSpace.g1.forVault.ExecuteHandler', '{"handler":"sign","request_id":"9"}');
    await until(() => found.length === 1, 'a result');
    nc.publish('OwnerSpace.g1.forVault.StatusRequest', '{"request_id":"10"}');
    await until(() => found.length === 2, 'a status');
    assert.deepEqual(found, [
        ['OwnerSpace.g1.forApp.HandlerResult', { type: 'HandlerResult', pending: 1, request_id: '9' }],
        ['OwnerSpace.g1.forApp.StatusResponse', { type: 'StatusResponse', pending: 1, request_id: '10' }],
    ]);
    space.child.kill('SIGTERM');
    assert.equal(await space.ended, 0);
    subscription.unsubscribe();
}

await run(async ({ quipu: folder, dir }) => {
    const server = await startServer(dir);
    try {
        const nc = await connect({ servers: server.url });
        await tryBridge(folder, server.url, nc);
        await tryOwnerSpace(folder, server.url, nc, dir);
        await nc.close();
        console.log('bridge and owner space do as they say');
    } finally {
        await server.stop();
    }
});
