// For a Node.js without crypto.hash, such as Debian 12's 18.20: @atcute/uint8array imports that in its
// build for Node.js, but has one for browsers too, which needs nothing but the web's names.
//
// SPDX-License-Identifier: Apache-2.0
import { webcrypto } from 'node:crypto'
import { register } from 'node:module'

globalThis.crypto ??= webcrypto
register('data:text/javascript,' + encodeURIComponent(`
  export async function resolve (specifier, context, next) {
    const found = await next(specifier, context)
    const url = found.url.replace(/(@atcute\\/uint8array\\/dist\\/index)\\.node\\.js$/, '$1.js')
    return { ...found, url }
  }`))
