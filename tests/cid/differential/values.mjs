// Seeded random values of the IPLD data model: as a tree of our own that tells 1 from 1.0, as DAG-JSON
// text in any order of keys, and as what each peer takes. The same seed gives the same values.
//
// SPDX-License-Identifier: Apache-2.0

import { CID } from 'multiformats/cid'
import { CidLinkWrapper, toBytes } from '@atcute/cbor'

/** xorshift128+ on 32-bit halves would do no better here: mulberry32, one integer of state. */
export class Random {
  constructor (seed) {
    this.state = seed >>> 0
  }

  u32 () {
    this.state = (this.state + 0x6d2b79f5) >>> 0
    let t = this.state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return (t ^ (t >>> 14)) >>> 0
  }

  below (n) {
    return this.u32() % n
  }

  pick (list) {
    return list[this.below(list.length)]
  }

  u64 () {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32())
  }

  bytes (len) {
    return Uint8Array.from({ length: len }, () => this.u32() & 255)
  }
}

const LENGTHS = [0, 1, 2, 3, 5, 8, 23, 24, 25, 31, 60]
const LONG_LENGTHS = [255, 256, 257, 1000]
const EDGES = [0n, 23n, 24n, 255n, 256n, 65535n, 65536n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 53n - 1n,
  2n ** 53n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n]
const CHARACTERS = ['a', 'b', 'z', 'A', '0', ' ', '"', '\\', '/', '\n', '\u0000', '\u001f', '\u007f', 'é',
  'ß', '\u0800', '€', '\ud7ff', '\ue000', '\ufeff', '\uffff', '\u{10000}', '🚀', '\u{10ffff}', '\u2028']

function randomInteger (random) {
  const magnitude = random.below(3) === 0 ? random.u64() >> BigInt(random.below(64)) : random.pick(EDGES)
  return { type: 'int', value: random.below(2) === 0 ? magnitude : -1n - magnitude }
}

function randomFloat (random) {
  const view = new DataView(new ArrayBuffer(8))
  switch (random.below(5)) {
    case 0: return { type: 'float', value: random.pick([0, -0, 1, -1, 0.1, 1e21, 1e-7, 5e-324, 2 ** -44]) }
    case 1: return { type: 'float', value: (random.u32() - 2 ** 31) / 1024 }
    case 2: return { type: 'float', value: random.pick([1, -1]) * 2 ** (random.below(2000) - 1000) }
    default:
      view.setBigUint64(0, random.u64())
      return Number.isFinite(view.getFloat64(0)) ? { type: 'float', value: view.getFloat64(0) } : { type: 'null' }
  }
}

function randomText (random) {
  const len = random.below(50) === 0 ? random.pick(LONG_LENGTHS) : random.pick(LENGTHS)
  const isPlain = random.below(2) === 0
  let text = ''
  for (let i = 0; i < len; i++) {
    text += isPlain ? String.fromCharCode(97 + random.below(26)) : random.pick(CHARACTERS)
  }
  return text
}

// Profile of quipu's own events mostly; every eighth a CID that only the generic profile takes.
function randomLink (random) {
  const digest = random.bytes(32)
  switch (random.below(16)) {
    case 0: return { type: 'link', value: CID.decode(Uint8Array.of(0x12, 0x20, ...digest)) }
    case 1: return { type: 'link', value: CID.decode(Uint8Array.of(1, 0x70, 0x13, 0x20, ...digest)) }
    default: return { type: 'link', value: CID.decode(Uint8Array.of(1, random.pick([0x55, 0x71]), 0x12, 0x20, ...digest)) }
  }
}

function randomMap (random, depth) {
  const entries = new Map()
  const count = random.below(30) === 0 ? 24 + random.below(10) : random.below(7)
  for (let i = 0; i < count; i++) {
    const key = randomText(random)
    // "/" is DAG-JSON's own; the others mean something else to JavaScript or to a peer.
    if (!['/', '__proto__', '$link', '$bytes'].includes(key)) {
      entries.set(key, randomValue(random, depth + 1))
    }
  }
  return { type: 'map', value: entries }
}

export function randomValue (random, depth = 0) {
  switch (random.below(depth < 5 ? 14 : 9)) {
    case 0: return { type: 'null' }
    case 1: return { type: 'bool', value: random.below(2) === 0 }
    case 2: case 3: return randomInteger(random)
    case 4: return randomFloat(random)
    case 5: case 6: return { type: 'text', value: randomText(random) }
    case 7: return { type: 'bytes', value: random.bytes(random.pick(LENGTHS)) }
    case 8: return randomLink(random)
    case 9: case 10: return {
      type: 'list',
      value: Array.from({ length: random.below(40) === 0 ? 24 : random.below(6) }, () => randomValue(random, depth + 1))
    }
    default: return randomMap(random, depth)
  }
}

/** Call `visit` with every value in the tree. */
export function walk (node, visit) {
  visit(node)
  if (node.type === 'list') node.value.forEach(item => walk(item, visit))
  if (node.type === 'map') node.value.forEach(item => walk(item, visit))
}

function jsonString (text, random) {
  const plain = JSON.stringify(text)
  if (random.below(4) !== 0) return plain
  return plain.replace(/[\u0080-\uffff]/g, c => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'))
}

export function floatText (value) {
  const text = Object.is(value, -0) ? '-0' : String(value)
  return /[.e]/.test(text) ? text : text + '.0'
}

/** DAG-JSON with white space here and there, keys in the order of the tree, escapes at random. */
export function toJson (node, random) {
  const space = () => random.below(12) === 0 ? random.pick([' ', '\n', '\t ', '\r\n']) : ''
  switch (node.type) {
    case 'null': return 'null'
    case 'bool': return String(node.value)
    case 'int': return String(node.value)
    case 'float': return floatText(node.value)
    case 'text': return jsonString(node.value, random)
    case 'bytes': return `{"/":{"bytes":"${Buffer.from(node.value).toString('base64').replace(/=+$/, '')}"}}`
    case 'link': return `{"/"${space()}:${space()}"${node.value.toString()}"}`
    case 'list': return '[' + node.value.map(item => space() + toJson(item, random) + space()).join(',') + ']'
    default: return '{' + [...node.value].map(([key, item]) =>
      space() + jsonString(key, random) + space() + ':' + space() + toJson(item, random)).join(',') + '}'
  }
}

function toObject (node, convert) {
  return Object.fromEntries([...node.value].map(([key, item]) => [key, convert(item)]))
}

/** What @ipld/dag-cbor and @ipld/dag-json encode. */
export function toIpld (node) {
  switch (node.type) {
    case 'null': return null
    case 'int': return Number.isSafeInteger(Number(node.value)) ? Number(node.value) : node.value
    case 'list': return node.value.map(toIpld)
    case 'map': return toObject(node, toIpld)
    default: return node.value
  }
}

/** What @atcute/cbor encodes. */
export function toAtcute (node) {
  switch (node.type) {
    case 'null': return null
    case 'int': return Number(node.value)
    case 'bytes': return toBytes(node.value)
    case 'link': return new CidLinkWrapper(node.value.bytes)
    case 'list': return node.value.map(toAtcute)
    case 'map': return toObject(node, toAtcute)
    default: return node.value
  }
}
