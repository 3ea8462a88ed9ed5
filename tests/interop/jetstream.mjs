// What a flush leaves on a real nats-server, read by NATS's own JavaScript client: one message an event
// and no second one, from whichever store and however late it is flushed again; every payload in the
// object store with a digest that the client accepts, equal to the block under its CID; every header.
//
// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import path from 'node:path';

import { AckPolicy, JetStreamApiError, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { Objm } from '@nats-io/obj';
import { connect, headers as newHeaders } from '@nats-io/transport-node';

import { Store, bundleEvents, readCar, readInput, run, startServer, uuidText } from './lib.mjs';

const STREAM = 'CIM_KEYS_EVENTS';
const BUCKET = 'cim-keys-objects';
const PREFIX = 'cim.keys';
const WRONG_LAST_SEQUENCE = 10071;

function subjectOf(envelope) {
    return [PREFIX, envelope.aggregate_type, envelope.event_type, uuidText(envelope.event_id)].join('.');
}

async function countMessages(jsm, total) {
    const { state } = await jsm.streams.info(STREAM, { subjects_filter: '>' });
    assert.equal(state.messages, total);
    assert.equal(state.num_deleted ?? 0, 0);
    assert.equal(Object.keys(state.subjects).length, total);
}

// ---------------------------------------------------------------------------- messages

function expectedHeaders({ cid, envelope }) {
    const id = uuidText(envelope.event_id);
    const expected = {
        'Nats-Msg-Id': id,
        'Nats-Expected-Last-Subject-Sequence': '0',
        'X-Event-ID': id,
        'X-Correlation-ID': uuidText(envelope.correlation_id),
        'X-Event-Type': envelope.event_type,
        'X-Aggregate-ID': envelope.aggregate_id,
        'X-Timestamp': envelope.occurred_at,
        'X-Event-CID': String(cid),
        'X-Payload-CID': String(envelope.payload),
    };
    if (envelope.causation_id !== null) {
        expected['X-Causation-ID'] = uuidText(envelope.causation_id);
    }
    return expected;
}

function readHeaders(message) {
    const found = {};
    for (const [key, values] of message.headers) {
        assert.equal(values.length, 1, `${message.subject}: ${key} ${values.length} times`);
        [found[key]] = values;
    }
    const time = found['X-Timestamp'];
    assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$/);
    const [, fraction = ''] = /\.(\d+)Z$/.exec(time) ?? [];
    found['X-Timestamp'] = Date.parse(time.replace(/\.\d+Z$/, 'Z')) * 1000 +
        Number(fraction.padEnd(6, '0'));
    return found;
}

// Every message, in the stream's order, is the event of that order.
async function checkMessages(nc, jsm, bundle, blocks) {
    const name = 'reader';
    await jsm.consumers.add(STREAM, { durable_name: name, ack_policy: AckPolicy.None });
    const consumer = await jetstream(nc).consumers.get(STREAM, name);
    let index = 0;
    while (index < bundle.events.length) {
        const before = index;
        const wanted = Math.min(500, bundle.events.length - index); // fetch waits for as many
        for await (const message of await consumer.fetch({ max_messages: wanted, expires: 5000 })) {
            const event = bundle.events[index];
            const where = `message ${message.seq}`;
            assert.equal(message.seq, index + 1, where);
            assert.equal(message.subject, subjectOf(event.envelope), where);
            assert.deepStrictEqual(readHeaders(message), expectedHeaders(event), where);
            assert.deepEqual(Buffer.from(message.data), Buffer.from(blocks.get(String(event.cid))), where);
            index += 1;
        }
        assert.ok(index > before, `no message behind ${index}`);
    }
    await jsm.consumers.delete(STREAM, name);
}

// ---------------------------------------------------------------------------- payloads

async function getObject(store, name) {
    const result = await store.get(name);
    assert.ok(result !== null, `the object store has no ${name}`);
    const parts = [];
    for await (const part of result.data) {
        parts.push(part);
    }
    const error = await result.error;
    assert.ok(!error, `${name}: ${error}`);
    return { info: result.info, bytes: Buffer.concat(parts) };
}

// The client's check must be one: an object whose meta names another digest is refused.
async function checkThatTheClientChecks(nc, objects) {
    const store = await objects.create('control');
    const { name, bucket, nuid, size, chunks } =
        await store.putBlob({ name: 'x' }, new TextEncoder().encode('what was put'));
    const digest = `SHA-256=${Buffer.alloc(32, 7).toString('base64url')}=`;
    const headers = newHeaders();
    headers.set('Nats-Rollup', 'sub');
    await jetstream(nc).publish(`$O.control.M.${Buffer.from('x').toString('base64')}`,
        JSON.stringify({ name, bucket, nuid, size, chunks, digest }), { headers });
    await assert.rejects(() => getObject(store, 'x'), /digests do not match/);
    await store.destroy();
}

async function checkPayloads(nc, bundle, blocks) {
    const objects = new Objm(nc);
    await checkThatTheClientChecks(nc, objects);
    const store = await objects.open(BUCKET);
    const names = [...new Set(bundle.events.map(({ envelope }) => String(envelope.payload)))];
    const digests = new Map(bundle.events.map(({ envelope }) =>
        [String(envelope.payload), Buffer.from(envelope.payload.multihash.digest)]));

    const listed = (await store.list()).map(({ name }) => name);
    assert.deepEqual(listed.sort(), [...names].sort());
    const queue = names.values();
    const work = async () => {
        for (const name of queue) {
            const { info, bytes } = await getObject(store, name);
            const block = Buffer.from(blocks.get(name));
            assert.deepEqual(bytes, block, name);
            const { nuid, size, chunks, digest, deleted = false } = info;
            assert.deepEqual({ nuid, size, chunks, digest, deleted }, {
                nuid: name, size: block.length, chunks: 1, deleted: false,
                digest: `SHA-256=${digests.get(name).toString('base64url')}=`,
            }, name);
        }
    };
    await Promise.all(Array.from({ length: 8 }, work));
    return names.length;
}

// An object of ours, put over by the client as it puts any object: a new nuid, a roll-up, the old
// chunks purged. There is one object of that name still, and each side reads what the other wrote.
async function checkPutOver(nc, jsm, name, block) {
    const stream = `OBJ_${BUCKET}`;
    const meta = { last_by_subj: `$O.${BUCKET}.M.${Buffer.from(name).toString('base64url')}` +
        '='.repeat((4 - Buffer.from(name).toString('base64url').length % 4) % 4) };
    const ours = await jsm.streams.getMessage(stream, meta);
    assert.equal(ours.header.get('Nats-Rollup'), '', 'a meta of ours has a roll-up header');
    assert.equal(ours.header.get('Nats-Expected-Last-Subject-Sequence'), '0');

    const store = await new Objm(nc).open(BUCKET);
    const before = (await store.list()).length;
    const put = await store.putBlob({ name }, block);
    assert.notEqual(put.nuid, name);
    const theirs = await jsm.streams.getMessage(stream, meta);
    assert.equal(theirs.header.get('Nats-Rollup'), 'sub');
    assert.equal((await store.list()).length, before);
    const { info, bytes } = await getObject(store, name);
    assert.equal(info.nuid, put.nuid);
    assert.deepEqual(bytes, Buffer.from(block));
    const { state } = await jsm.streams.info(stream, { subjects_filter: `$O.${BUCKET}.C.${name}` });
    assert.equal(state.subjects, undefined, 'the chunk that was put over is there still');
}

// ---------------------------------------------------------------------------- the duplicate window

// Publishing the newest event's id again, with the very guard that the flusher uses, answers
// "duplicate" inside the window and "wrong last sequence" behind it, and stores nothing either way.
async function waitForTheWindow(nc, envelope) {
    const js = jetstream(nc);
    for (;;) {
        try {
            const ack = await js.publish(subjectOf(envelope), 'never stored', {
                msgID: uuidText(envelope.event_id), expect: { lastSubjectSequence: 0 },
            });
            assert.ok(ack.duplicate, 'the server stored an event twice');
        } catch (error) {
            assert.ok(error instanceof JetStreamApiError && error.code === WRONG_LAST_SEQUENCE, error);
            return;
        }
        await new Promise((resolve) => { setTimeout(resolve, 50); });
    }
}

// ---------------------------------------------------------------------------- the test

function counts({ published, duplicates, dead, pending }) {
    return { published, duplicates, dead, pending };
}

async function exerciseServer({ quipu, dir }, url, nc) {
    const server = ['--server', url];
    const { bytes, events: input } = readInput();
    const total = input.length;
    const jsm = await jetstreamManager(nc);
    const digestsOf = (store) => store.call(['replay'])
        .map(({ projection, position, rows, digest }) => ({ projection, position, rows, digest }));

    const first = new Store(quipu, path.join(dir, 'first'));
    first.call(['append', '-'], bytes);
    const file = path.join(dir, 'bundle.car');
    first.one(['export', file]);
    const { blocks, root } = await readCar(file);
    const bundle = bundleEvents({ blocks, root });
    const importing = (name) => {
        const store = new Store(quipu, path.join(dir, name));
        assert.equal(store.one(['import', '--yes', file]).added, total);
        return store;
    };

    const provisioned = first.one(['provision', ...server, '--duplicates', '1s']);
    assert.ok(provisioned.stream_created && provisioned.bucket_created);
    const none = { published: 0, duplicates: 0, dead: 0, pending: 0 };
    const flushed = first.one(['flush', ...server]);
    assert.deepEqual(counts(flushed), { ...none, published: total });
    await countMessages(jsm, total);
    assert.deepEqual(counts(first.one(['flush', ...server])), none);

    // Other stores with the same events add nothing: at once, and when the server's own memory of
    // message ids is gone.
    const all = { ...none, duplicates: total };
    assert.deepEqual(counts(importing('second').one(['flush', ...server])), all);
    await countMessages(jsm, total);
    await waitForTheWindow(nc, bundle.events.at(-1).envelope);
    const second = importing('late');
    assert.deepEqual(counts(second.one(['flush', ...server])), all);
    await countMessages(jsm, total);
    assert.deepEqual(counts(second.one(['flush', ...server])), none);

    await checkMessages(nc, jsm, bundle, blocks);
    const payloads = await checkPayloads(nc, bundle, blocks);
    assert.equal(payloads, flushed.payloads_stored);
    const payload = String(bundle.events[0].envelope.payload);
    await checkPutOver(nc, jsm, payload, blocks.get(payload));
    const proof = first.one(['reconcile', ...server]); // fails where a payload is not what it was
    assert.deepEqual([proof.same, proof.payloads], [total, 0]);

    // From the stream into a store that has nothing: the same log, the same state, nothing to flush.
    const third = new Store(quipu, path.join(dir, 'third'));
    const pulled = third.one(['pull', ...server]);
    assert.deepEqual(
        [pulled.added, pulled.known, pulled.quarantined, pulled.last_sequence], [total, 0, 0, total]);
    assert.deepEqual(counts(third.one(['flush', ...server])), none);
    third.call(['verify']);
    const truth = digestsOf(first);
    assert.ok(truth.every(({ position }) => position === total));
    assert.equal(truth.find(({ projection }) => projection === 'roles').rows, 15);
    assert.deepEqual(digestsOf(second), truth);
    assert.deepEqual(digestsOf(third), truth);
    await countMessages(jsm, total);
    return { total, payloads };
}

await run(async (test) => {
    readInput(); // skipped without it, before a server is started
    const server = await startServer(test.dir);
    try {
        const nc = await connect({ servers: server.url });
        const { total, payloads } = await exerciseServer(test, server.url, nc);
        await nc.close();
        console.log(`${total} messages once each from four stores, ${payloads} payloads with digests ` +
            'that the client accepts, equal state in all');
    } finally {
        await server.stop();
    }
});
