// The official JavaScript client as a peer of bench_flush: the object store's put of a payload, then
// a publish of the envelope, told through a pipe how many of what size.
//
// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import path from 'node:path';
import readline from 'node:readline';
import { pathToFileURL } from 'node:url';

const [, , url, modules] = process.argv;
const require = createRequire(path.join(modules, 'package.json'));
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const [{ connect }, { jetstream }, { Objm }] = await Promise.all([
    load('@nats-io/transport-node'), load('@nats-io/jetstream'), load('@nats-io/obj'),
]);

const BUCKET = 'cim-keys-objects';
const nc = await connect({ servers: url });
const js = jetstream(nc);
let serial = 0;

async function one(store, payload, envelope) {
    const name = `peer-${process.pid}-${serial++}`;
    payload.set(randomBytes(8)); // no two are the same
    await store.putBlob({ name }, payload);
    await js.publish(`cim.keys.key.key.used.${name}`, envelope, { msgID: name });
}

const ways = {
    async put(store, count, payload, envelope) {
        for (let i = 0; i < count; i++) {
            await one(store, payload, envelope);
        }
    },
    async 'put-all'(store, count, payload, envelope) {
        await Promise.all(Array.from({ length: count },
            () => one(store, Uint8Array.from(payload), envelope)));
    },
};

console.log('ready');
for await (const line of readline.createInterface({ input: process.stdin })) {
    const [way, count, payloadBytes, envelopeBytes] = line.split(' ');
    const store = await new Objm(nc).open(BUCKET);
    const began = process.hrtime.bigint();
    await ways[way](store, Number(count), new Uint8Array(Number(payloadBytes)),
        new Uint8Array(Number(envelopeBytes)));
    console.log(`${process.hrtime.bigint() - began}`);
}
await nc.close();
