// The projection "roles", rebuilt by replay, held against the root files that were published: for each
// of the versions 1 to 15 the same thresholds and numbers of keys, and the digest of the very file where
// the events know it (they end before the last signature on version 15).
//
// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';

import { Store, readInput, run, shared } from './lib.mjs';

function published(version) {
    const bytes = readFileSync(shared(`data/raw/sigstore/root_history/${version}.root.json`));
    const { signed } = JSON.parse(bytes);
    assert.equal(signed.version, version);
    const thresholds = {};
    for (const [role, { keyids, threshold }] of Object.entries(signed.roles)) {
        thresholds[role] = [threshold, keyids.length];
    }
    return { version, expires: signed.expires, thresholds,
        sha256: createHash('sha256').update(bytes).digest('hex') };
}

await run(async ({ quipu, dir }) => {
    const { bytes, events } = readInput();
    const seen = new Set(events.map(({ payload }) => payload.sha256));
    const truth = Array.from({ length: 15 }, (_, index) => published(index + 1));
    const store = new Store(quipu, path.join(dir, 'store'));
    assert.deepEqual(truth.filter(({ sha256 }) => !seen.has(sha256)).map(({ version }) => version), [15]);
    store.call(['append', '-'], bytes);

    for (const how of [[], ['--rebuild']]) {
        const rows = store.call(['replay', '--projection', 'roles', '--show', ...how]);
        assert.deepEqual(rows.map(({ key }) => key),
            truth.map(({ version }) => `root/${String(version).padStart(4, '0')}`));
        for (const [index, expected] of truth.entries()) {
            const { version, expires, thresholds, sha256 } = rows[index].value;
            const digest = seen.has(expected.sha256) ? expected.sha256 : sha256;
            assert.deepStrictEqual({ version, expires, thresholds, sha256 },
                { ...expected, sha256: digest });
        }
    }
    const { root } = truth[14].thresholds;
    console.log(`${truth.length} published root versions: the projection has the thresholds of ` +
        `each and the digest of each that was recorded; version 15 needs ${root[0]} of ${root[1]}`);
});
