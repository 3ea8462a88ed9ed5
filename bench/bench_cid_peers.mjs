// The JavaScript peers of bench_cid: node bench_cid_peers.mjs FILE.car
// Reads lines "CASE COUNT" on stdin, does the case that often over the blocks of the CAR, and answers "ok".
// bench_cid takes the time, so that these peers take turns with all others in one run.
//
// Packages are those of the tests: tests/interop and tests/cid/differential.
//
// SPDX-License-Identifier: Apache-2.0

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'

// By path, because a package is looked for beside the file that imports it, and these are elsewhere.
const load = (folder, file) => import(new URL(`../tests/${folder}/node_modules/${file}`, import.meta.url))
const { CarBlockIterator } = await load('interop', '@ipld/car/src/index.js')
const ipld = await load('interop', '@ipld/dag-cbor/src/index.js')
const atcute = await load('cid/differential', '@atcute/cbor/dist/index.js')

const bytes = readFileSync(process.argv[2])
const blocks = []
for await (const { bytes: block } of await CarBlockIterator.fromBytes(bytes)) blocks.push(block)
const ipldValues = blocks.map(block => ipld.decode(block))
const atcuteValues = blocks.map(block => atcute.decode(block))

const sha256 = block => createHash('sha256').update(block).digest()
let sink = 0
const loop = work => count => {
  for (let i = 0; i < count; i++) sink ^= work(i % blocks.length)
}

const cases = {
  'encode-ipld': loop(i => sha256(ipld.encode(ipldValues[i]))[0]),
  'encode-atcute': loop(i => sha256(atcute.encode(atcuteValues[i]))[0]),
  'decode-ipld': loop(i => ipld.decode(blocks[i]).version),
  'decode-atcute': loop(i => atcute.decode(blocks[i]).version),
  'car-ipld': async count => {
    for (let done = 0; done < count;) {
      for await (const { cid, bytes: block } of await CarBlockIterator.fromBytes(bytes)) {
        if (!sha256(block).equals(cid.multihash.digest)) throw new Error(`${cid} does not match`)
        sink ^= ipld.decode(block).version
        done++
      }
    }
  }
}

console.log('ready')
for await (const line of createInterface({ input: process.stdin })) {
  const [name, count] = line.split(' ')
  await cases[name](Number(count))
  console.log('ok')
}
