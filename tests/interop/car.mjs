// An independent reading of a bundle: IPLD's own libraries open the CAR, hash and decode every block,
// and what they find is held, event by event and field by field, against the file that was appended.
//
// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import path from 'node:path';

import { CID } from 'multiformats/cid';

import { Store, bundleEvents, readCar, readInput, run, uuidBytes } from './lib.mjs';

// Every key that the envelope of this input line must have, and no other.
function expectedEnvelope(input, sofar, source) {
    const aggregate = `${input.aggregate_type}/${input.aggregate_id}`;
    const chain = sofar.chains.get(aggregate) ?? [];
    const expected = {
        v: 1,
        event_id: uuidBytes(input.event_id),
        event_type: input.event_type,
        schema: input.schema ?? 1,
        aggregate_type: input.aggregate_type,
        aggregate_id: input.aggregate_id,
        version: chain.length + 1,
        prev: chain.slice(-1).map(String),
        correlation_id: uuidBytes(input.correlation_id),
        causation_id: input.causation_id === undefined ? null : uuidBytes(input.causation_id),
        occurred_at: Date.parse(input.occurred_at) * 1000,
        source,
        source_seq: sofar.cids.size + 1,
        meta: input.meta,
    };
    const cause = sofar.cids.get(input.causation_id);
    if (cause !== undefined) {
        expected.causation = String(cause);
    }
    return expected;
}

function note(input, sofar, cid) {
    const aggregate = `${input.aggregate_type}/${input.aggregate_id}`;
    sofar.chains.set(aggregate, [...(sofar.chains.get(aggregate) ?? []), cid]);
    sofar.cids.set(input.event_id, cid);
}

// Links as text, so that they compare; each must be a link and not a text that looks like one.
function linksAsText(envelope) {
    const text = (link) => {
        assert.ok(CID.asCID(link) !== null, `${link} is not a link`);
        return String(link);
    };
    const { payload, prev, causation, ...rest } = envelope;
    text(payload);
    const readable = { ...rest, prev: prev.map(text) };
    if (causation !== undefined) {
        readable.causation = text(causation);
    }
    return readable;
}

function checkManifest({ manifest, manifestCid, events }, source, said) {
    assert.equal(String(manifestCid), said.manifest);
    assert.equal(manifest.source, source);
    assert.equal(manifest.number, 1);
    assert.equal(manifest.previous, null);
    assert.equal(manifest.tree.size, events.length);
    const counts = {};
    for (const { envelope } of events) {
        counts[envelope.event_type] = (counts[envelope.event_type] ?? 0) + 1;
    }
    assert.deepEqual(manifest.counts, counts);
}

await run(async ({ quipu, dir }) => {
    const { bytes, events: input } = readInput();
    const store = new Store(quipu, path.join(dir, 'store'));
    const appended = store.call(['append', '-'], bytes);
    const { source } = store.one(['status']);
    const file = path.join(dir, 'bundle.car');
    const said = store.one(['export', file]);

    const car = await readCar(file);
    const bundle = bundleEvents(car);
    assert.equal(String(car.root), said.root);
    assert.equal(bundle.events.length, input.length);
    checkManifest(bundle, source, said);

    const sofar = { chains: new Map(), cids: new Map() };
    const used = new Set([String(car.root), String(bundle.manifestCid)]);
    for (const [index, { cid, envelope, payload }] of bundle.events.entries()) {
        const line = input[index];
        const where = `line ${index + 1}`;
        assert.deepStrictEqual(payload, line.payload, where);
        assert.deepStrictEqual(linksAsText(envelope), expectedEnvelope(line, sofar, source), where);
        // The program's own answer to the append names the same block.
        assert.deepEqual(
            { ...appended[index] },
            { line: index + 1, position: index + 1, version: envelope.version,
                event_id: line.event_id, cid: String(cid), duplicate: false }, where);
        note(line, sofar, cid);
        used.add(String(cid)).add(String(envelope.payload));
    }
    assert.equal(sofar.chains.size, 239);
    assert.deepEqual([...car.blocks.keys()].filter((cid) => !used.has(cid)), [],
        'blocks in the CAR that nothing names');

    // The same file again: all of it is known, and nothing is added.
    const again = store.call(['append', '-'], bytes);
    assert.ok(again.every((answer, index) => answer.duplicate && answer.cid === appended[index].cid));
    assert.equal(again.length, input.length);
    assert.equal(store.one(['status']).events, input.length);

    const caused = bundle.events.filter(({ envelope }) => envelope.causation !== undefined).length;
    console.log(`${input.length} events, ${car.blocks.size} blocks, ${sofar.chains.size} chains, ` +
        `${caused} links to causes: @ipld/car, @ipld/dag-cbor and multiformats agree with every byte`);
});
