// `quipu serve` as NATS's own JavaScript services client sees it: discovery by PING, INFO and STATS, a
// command, the same again, a failure with its headers, queries, health; and its clean end by a signal.
//
// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import path from 'node:path';

import { Svcm, ServiceError } from '@nats-io/services';
import { connect, headers as newHeaders } from '@nats-io/transport-node';

import { Store, run, startServer } from './lib.mjs';

const APPEND = 'svc.cim.keys.cmd.append';
const QUERY = 'svc.cim.keys.query';
const EVENT = { aggregate_type: 'key', aggregate_id: 'k1', event_type: 'key.used', payload: { n: 1 } };

// Starts `quipu serve`; resolves when a line of its log says that the connection stands and it answers.
async function startService(store, url, nc) {
    const child = spawn(store.quipu, ['--store', store.folder, 'serve', '--server', url,
        '--name', 'keys', '--log-format', 'json', '--flush', '--metrics', '127.0.0.1:0'], { stdio: ['ignore', 'inherit', 'pipe'] });
    const lines = [];
    let rest = '';
    child.stderr.on('data', (bytes) => {
        rest += bytes.toString();
        const parts = rest.split('\n');
        rest = parts.pop();
        lines.push(...parts.map((line) => JSON.parse(line)));
    });
    const ended = new Promise((resolve) => { child.once('exit', (code) => resolve(code)); });
    for (let tries = 0; ; tries += 1) {
        try {
            await nc.request('health.keys', '', { timeout: 1000 });
            return { child, lines, ended };
        } catch (error) {
            assert.ok(tries < 400 && child.exitCode === null, error);
            await new Promise((resolve) => { setTimeout(resolve, 25); });
        }
    }
}

async function all(iterator) {
    const found = [];
    for await (const one of await iterator) {
        found.push(one);
    }
    return found;
}

async function discover(nc) {
    const client = new Svcm(nc).client({ maxWait: 1000, strategy: 'stall' });
    const [ping, ...others] = await all(client.ping('keys'));
    assert.equal(others.length, 0);
    assert.equal(ping.type, 'io.nats.micro.v1.ping_response');
    assert.equal(ping.name, 'keys');
    assert.match(ping.version, /^\d+\.\d+\.\d+/);
    assert.match(ping.id, /^[0-9A-Za-z]{22}$/);
    assert.deepEqual((await all(client.ping())).map(({ id }) => id), [ping.id]);

    for (const [info] of [await all(client.info('keys', ping.id)), await all(client.info())]) {
        assert.equal(info.type, 'io.nats.micro.v1.info_response');
        assert.deepEqual(info.endpoints.map(({ name, subject, queue_group: group }) => [name, subject, group]),
            [['query', QUERY, 'q'], ['append', APPEND, 'q']]);
    }
    const [stats] = await all(client.stats('keys', ping.id));
    assert.equal(stats.type, 'io.nats.micro.v1.stats_response');
    assert.ok(Math.abs(Date.parse(stats.started) - Date.now()) < 600000);
    return Object.fromEntries(stats.endpoints.map((endpoint) => [endpoint.name, endpoint]));
}

async function ask(nc) {
    const headers = newHeaders();
    headers.set('X-Request-ID', 'one');
    const first = await nc.request(APPEND, JSON.stringify(EVENT), { headers, timeout: 10000 });
    const again = await nc.request(APPEND, JSON.stringify(EVENT), { headers, timeout: 10000 });
    assert.ok(!ServiceError.isServiceError(first) && !ServiceError.isServiceError(again));
    assert.equal(first.json().duplicate, false);
    assert.equal(again.json().duplicate, true);
    assert.deepEqual(again.json().events[0].cid, first.json().events[0].cid);

    const failed = await nc.request(APPEND, '{', { timeout: 10000 });
    assert.ok(ServiceError.isServiceError(failed));
    assert.equal(ServiceError.toServiceError(failed).code, 100);

    const status = (await nc.request(QUERY, '{"query":"status"}', { timeout: 10000 })).json();
    assert.equal(status.store.events, 1);
    const verified = (await nc.request(QUERY, '{"query":"verify"}', { timeout: 10000 })).json();
    assert.deepEqual([verified.events, verified.problems, verified.findings], [1, 0, []]);
    const health = (await nc.request('health.keys', '', { timeout: 10000 })).json();
    assert.deepEqual([health.status, health.service], ['ok', 'keys']);
    return first.json().events[0];
}

// What was appended is published by the flush beside the service, and the figures come to say so.
async function scrape(service) {
    const { port } = service.lines.find(({ event }) => event === 'metrics.started');
    for (let tries = 0; ; tries += 1) {
        const answer = await fetch(`http://127.0.0.1:${port}/metrics`);
        assert.match(answer.headers.get('content-type'), /^text\/plain; version=0\.0\.4/);
        const text = await answer.text();
        if (text.includes('\nquipu_outbox_published_events 1\n') &&
            text.includes('\nquipu_flush_published_events_total 1\n')) {
            assert.ok(text.includes('\nquipu_service_requests_total{endpoint="append"} 3\n'));
            return;
        }
        assert.ok(tries < 1000, text);
        await new Promise((resolve) => { setTimeout(resolve, 20); });
    }
}

await run(async ({ quipu, dir }) => {
    const server = await startServer(dir);
    try {
        const nc = await connect({ servers: server.url });
        const store = new Store(quipu, path.join(dir, 'store'));
        store.one(['provision', '--server', server.url]); // the stream must not get the requests
        const service = await startService(store, server.url, nc);
        assert.equal((await discover(nc)).append.num_requests, 0);
        const event = await ask(nc);
        const { append } = await discover(nc);
        assert.deepEqual([append.num_requests, append.num_errors], [3, 1]);
        assert.match(append.last_error, /^100:/);
        assert.equal(typeof append.average_processing_time, 'number');

        await scrape(service);

        service.child.kill('SIGTERM');
        assert.equal(await service.ended, 0);
        assert.equal(service.lines.filter(({ event: it }) => it === 'request.failed').length, 1);
        assert.equal(service.lines.filter(({ event: it }) => it === 'service.stopped').length, 1);
        for (const { time, level } of service.lines) {
            assert.ok(Number.isFinite(Date.parse(time)) && ['info', 'warn'].includes(level));
        }
        const [shown] = store.call(['log']);
        assert.equal(shown.event_id, event.event_id);
        await nc.close();
        console.log('discovery, commands, queries and health as the services client reads them');
    } finally {
        await server.stop();
    }
});
