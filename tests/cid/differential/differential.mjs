// Holds quipu's DAG-CBOR and DAG-JSON against independent encoders on seeded random values:
//   node differential.mjs QUIPU-CIDCHECK [VALUES [SEED]]
// Each value goes to quipu as DAG-JSON text, and as the peers' bytes. The encodings and CIDs must be the
// same, and the peers' bytes must be accepted and written again, wherever the peer is known to be right.
// What a peer is known to do otherwise stands in KNOWN by name; a name that no longer shows is an error
// too, so the list stays true.
//
// SPDX-License-Identifier: Apache-2.0

import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createInterface } from 'node:readline'
import { once } from 'node:events'
import { CID } from 'multiformats/cid'
import { create as createDigest } from 'multiformats/hashes/digest'
import * as ipldCbor from '@ipld/dag-cbor'
import * as ipldJson from '@ipld/dag-json'
import * as atcute from '@atcute/cbor'
import { Random, randomValue, toAtcute, toIpld, toJson, walk } from './values.mjs'

const isWhole = node => node.type === 'float' && Number.isInteger(node.value)
const isSafe = node => Number.isSafeInteger(Number(node.value))
// Do the two orders of the keys differ?
const isSortedOtherwise = node => {
  if (node.type !== 'map') return false
  const keys = [...node.value.keys()].sort()
  return keys.some((key, i) => i > 0 && Buffer.compare(Buffer.from(keys[i - 1]), Buffer.from(key)) > 0)
}

// Peer → name → does it concern this value?
const KNOWN = {
  '@ipld/dag-cbor': {
    'whole floats up to 2^53-1 become integers: JavaScript has one number type': node => isWhole(node) && isSafe(node)
  },
  '@atcute/cbor': {
    'whole floats up to 2^53-1 become integers: JavaScript has one number type': node => isWhole(node) && isSafe(node),
    'numbers beyond 2^53-1 are refused': node => ['int', 'float'].includes(node.type) && Math.abs(Number(node.value)) > Number.MAX_SAFE_INTEGER
  },
  '@ipld/dag-json': {
    'whole floats up to 2^53-1 become integers: JavaScript has one number type': node => isWhole(node) && isSafe(node),
    'keys beyond U+FFFF are sorted by UTF-16 units, not by bytes': isSortedOtherwise
  }
}

class Cidcheck {
  constructor (program) {
    this.child = spawn(program, [], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]()
  }

  async ask (questions) {
    const text = questions.map(question => JSON.stringify(question) + '\n').join('')
    // No waiting for the pipe to drain: the other end writes answers before it reads on.
    this.child.stdin.write(text)
    const answers = []
    while (answers.length < questions.length) {
      const { value, done } = await this.lines.next()
      if (done) throw new Error('quipu-cidcheck ended early')
      answers.push(JSON.parse(value))
    }
    return answers
  }

  async close () {
    this.child.stdin.end()
    const [code] = await once(this.child, 'close')
    if (code !== 0) throw new Error(`quipu-cidcheck ended with ${code}`)
  }
}

function attempt (encode) {
  try {
    return Buffer.from(encode()).toString('hex')
  } catch (error) {
    return `refused: ${error.message}`
  }
}

function cidOf (hex) {
  const digest = createHash('sha256').update(Buffer.from(hex, 'hex')).digest()
  return CID.createV1(0x71, createDigest(0x12, digest)).toString()
}

const counts = {}
const seen = {}
const failures = []

// Count a comparison; a difference must have a name.
function compare (peer, tree, theirs, ours, index) {
  counts[peer] ??= { same: 0, known: 0 }
  if (theirs === ours) {
    counts[peer].same++
    return
  }
  const names = Object.entries(KNOWN[peer]).filter(([, concerns]) => {
    let found = false
    walk(tree, node => { found ||= concerns(node) })
    return found
  }).map(([name]) => name)
  if (names.length === 0) {
    failures.push({ index, peer, theirs, ours })
    return
  }
  counts[peer].known++
  names.forEach(name => { seen[`${peer}: ${name}`] = (seen[`${peer}: ${name}`] ?? 0) + 1 })
}

function check (tree, text, encoded, answers, index) {
  const [fromText, fromIpld, fromAtcute] = answers
  if (fromText.result !== 'accept') {
    failures.push({ index, text, answer: fromText })
    return
  }
  compare('@ipld/dag-cbor', tree, encoded.ipld, fromText.hex, index)
  compare('@atcute/cbor', tree, encoded.atcute, fromText.hex, index)
  compare('@ipld/dag-json', tree, encoded.json, Buffer.from(fromText.str).toString('hex'), index)
  for (const [hex, answer] of [[encoded.ipld, fromIpld], [encoded.atcute, fromAtcute]]) {
    // Bytes that a peer wrote, whatever it made of the value, are strict DAG-CBOR with this CID.
    if (answer !== undefined && (answer.result !== 'accept' || answer.hex !== hex || answer.cid !== cidOf(hex))) {
      failures.push({ index, hex, answer })
    }
  }
}

const [program, values = '100000', seed = '1'] = process.argv.slice(2)
if (program === undefined) {
  console.error('usage: node differential.mjs QUIPU-CIDCHECK [VALUES [SEED]]')
  process.exit(2)
}
const random = new Random(Number(seed))
const cidcheck = new Cidcheck(program)
const BATCH = 500
for (let done = 0; done < Number(values) && failures.length < 10; done += BATCH) {
  const cases = []
  const questions = []
  for (let i = done; i < Math.min(done + BATCH, Number(values)); i++) {
    const tree = randomValue(random)
    const text = toJson(tree, random)
    const encoded = {
      ipld: attempt(() => ipldCbor.encode(toIpld(tree))),
      atcute: attempt(() => atcute.encode(toAtcute(tree))),
      json: attempt(() => ipldJson.encode(toIpld(tree)))
    }
    const asked = [{ op: 'dagjson', str: text }]
    for (const hex of [encoded.ipld, encoded.atcute]) {
      if (!hex.startsWith('refused')) asked.push({ op: 'dagcbor', hex })
    }
    cases.push({ tree, text, encoded, asked, index: i })
    questions.push(...asked)
  }
  const answers = await cidcheck.ask(questions)
  let at = 0
  for (const { tree, text, encoded, asked, index } of cases) {
    const mine = answers.slice(at, at + asked.length)
    at += asked.length
    let next = 1
    const fromIpld = encoded.ipld.startsWith('refused') ? undefined : mine[next++]
    const fromAtcute = encoded.atcute.startsWith('refused') ? undefined : mine[next++]
    check(tree, text, encoded, [mine[0], fromIpld, fromAtcute], index)
  }
}
await cidcheck.close()

console.log(`${values} values, seed ${seed}`)
for (const [peer, { same, known }] of Object.entries(counts)) {
  console.log(`  ${peer}: ${same} the same, ${known} different in a known way`)
}
for (const [name, count] of Object.entries(seen)) console.log(`  ${count} × ${name}`)
for (const failure of failures.slice(0, 5)) console.error('DIFFERS', JSON.stringify(failure).slice(0, 2000))
for (const [peer, names] of Object.entries(KNOWN)) {
  for (const name of Object.keys(names)) {
    if (Number(values) >= 10000 && seen[`${peer}: ${name}`] === undefined) {
      failures.push(name)
      console.error(`NO LONGER SEEN: ${peer}: ${name}`)
    }
  }
}
process.exit(failures.length === 0 ? 0 : 1)
