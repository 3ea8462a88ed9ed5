// Makes the folder of an auditor that a forger would hand over, out of an honest one. The sums are left
// to the caller.
//   node forge.mjs MODE FOLDER KEY       KEY: a private key of OpenSSH; KEY.pub beside it
//   signer  an event changed, and all signed by KEY under the honest source's name
//   again   KEY's own source names one event twice in its manifest
//   extra   a block behind the last one that nothing names
//   twice   a block of the bundle once more
//
// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process';
import { appendFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { CarReader, CarWriter } from '@ipld/car';
import { decode, encode } from '@ipld/dag-cbor';
import { CID } from 'multiformats/cid';
import { sha256 } from 'multiformats/hashes/sha2';

const [mode, folder, key] = process.argv.slice(2);
const at = (name) => `${folder}/${name}`;
const block = async (value) => {
  const bytes = encode(value);
  return { cid: CID.createV1(0x71, await sha256.digest(bytes)), bytes };
};
const base64 = (bytes) => Buffer.from(bytes).toString('base64');
const json = (v) => {
  if (v === null || typeof v !== 'object') return JSON.stringify(v);
  if (v instanceof Uint8Array) return `{"/":{"bytes":"${base64(v).replace(/=+$/, '')}"}}`;
  if (Array.isArray(v)) return `[${v.map(json)}]`;
  if (CID.asCID(v)) return `{"/":"${v}"}`;
  return `{${Object.keys(v).sort().map((k) => `${JSON.stringify(k)}:${json(v[k])}`)}}`;
};
// The text "U…" of a key; nobody in this test looks at its check sum.
const nkey = (raw) => [...Buffer.concat([Buffer.of(0xa0), raw, Buffer.alloc(2)])]
  .map((b) => b.toString(2).padStart(8, '0')).join('').match(/.{5}/g)
  .map((b) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'[parseInt(b, 2)]).join('');
const section = ({ cid, bytes }) => {
  const len = cid.bytes.length + bytes.length;
  return Buffer.concat([Buffer.of((len & 0x7f) | 0x80, len >> 7), cid.bytes, bytes]);
};

const car = await CarReader.fromBytes(readFileSync(at('events.car')));
const [root] = await car.getRoots();
const get = async (cid) => (await car.get(cid)).bytes;
const { manifest: link } = decode(await get(root));
const manifest = decode(await get(link));
if (mode === 'extra' || mode === 'twice') {
  const cid = manifest.events[0];
  const added = mode === 'twice' ? { cid, bytes: await get(cid) } : await block({ a: 'b'.repeat(200) });
  appendFileSync(at('events.car'), section(added));
  process.exit(0);
}

const [type, encoded] = readFileSync(`${key}.pub`, 'utf8').trim().split(' ');
const raw = Buffer.from(encoded, 'base64').subarray(19);
const events = [];
for (const cid of manifest.events) {
  const envelope = decode(await get(cid));
  let payload = { cid: envelope.payload, bytes: await get(envelope.payload) };
  if (mode === 'signer' && decode(payload.bytes).n === 3) {
    payload = await block({ n: 999 });
    envelope.payload = payload.cid;
  }
  events.push({ envelope: await block(envelope), payload });
}
const named = mode === 'again' ? [...events, events[0]] : events;
if (mode === 'again') {
  manifest.source = nkey(raw);
  const note = Buffer.concat([Buffer.of(1), raw]);
  const name = `quipu/${manifest.source}`;
  const id = Buffer.from((await sha256.digest(Buffer.concat([Buffer.from(`${name}\n`), note]))).digest);
  writeFileSync(at('checkpoint.vkey'), `${name}+${id.toString('hex', 0, 4)}+${base64(note)}\n`);
}
manifest.events = named.map(({ envelope }) => envelope.cid);
const signed = await block(manifest);
writeFileSync(at('manifest.cbor'), signed.bytes);
writeFileSync(at('manifest.json'), `${json(manifest)}\n`);
rmSync(at('manifest.cbor.sig'), { force: true });
execFileSync('ssh-keygen', ['-q', '-Y', 'sign', '-n', 'quipu-bundle@v1', '-f', key, at('manifest.cbor')]);
const armor = readFileSync(at('manifest.cbor.sig'), 'utf8');
rmSync(at('manifest.cbor.sig'));
writeFileSync(at('signature-1.sig'), armor);
writeFileSync(at('signer-1.pub'), `${type} ${encoded}\n`);
writeFileSync(at('allowed_signers'), `${manifest.source} namespaces="quipu-bundle@v1" ${type} ${encoded}\n`);
writeFileSync(at('events.ndjson'), named.map(({ envelope, payload }) => `${json({
  cid: envelope.cid, envelope: decode(envelope.bytes), payload: decode(payload.bytes),
})}\n`).join(''));

const signature = Buffer.from(armor.replace(/-----[A-Z ]+-----|\n/g, ''), 'base64');
const front = await block({ v: 1, manifest: signed.cid, signatures: [signature] });
const proof = await Promise.all(manifest.log.proof.map(async (cid) => ({ cid, bytes: await get(cid) })));
const { writer, out } = CarWriter.create([front.cid]);
const written = (async () => {
  const parts = [];
  for await (const part of out) parts.push(part);
  writeFileSync(at('events.car'), Buffer.concat(parts));
})();
for (const each of [front, signed, ...proof, ...events.flatMap(({ envelope, payload }) => [envelope, payload])]) {
  await writer.put(each);
}
await writer.close();
await written;
console.log(manifest.source);
