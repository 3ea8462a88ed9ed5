// An independent reading of age files: npm's age-encryption decrypts what quipu-agecheck wrote, and the
// other way round, at sizes around the borders of chunks, for several recipients, armored, and with a
// passphrase. Skipped where Node.js is too old for that library.
//
// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { Skip, run } from './lib.mjs';

const SIZES = [0, 1, 47, 48, 65535, 65536, 65537, 131072, 131073, 196608];
const NO_MATCH = 16;

async function library() {
    const [major, minor] = process.versions.node.split('.').map(Number);
    if (major < 20 || (major === 20 && minor < 19)) {
        throw new Skip(`age-encryption needs Node.js 20.19, this is ${process.versions.node}`);
    }
    return import('age-encryption');
}

// Runs quipu-agecheck over bytes; {code, out}. The passphrase goes through descriptor 3.
function agecheck({ quipu, dir }, args, bytes, passphrase) {
    const [input, output] = ['in', 'out'].map((name) => path.join(dir, name));
    const secret = path.join(dir, 'passphrase');
    writeFileSync(input, bytes);
    const whole = [...args, input, output];
    let done;
    if (passphrase === undefined) {
        done = spawnSync(quipu, whole, { stdio: ['ignore', 'inherit', 'inherit'] });
    } else {
        writeFileSync(secret, passphrase, { mode: 0o600 });
        done = spawnSync('sh', ['-c', 'exec "$@" 3<"$0"', secret, quipu, ...whole],
            { stdio: ['ignore', 'inherit', 'inherit'] });
    }
    if (done.status !== 0) {
        assert.ok(!existsSync(output), 'a failure left a file');
        return { code: done.status };
    }
    return { code: 0, out: readFileSync(output) };
}

function must(result) {
    assert.equal(result.code, 0);
    return result.out;
}

async function theirs(age, plain, recipients, isArmored) {
    const encrypter = new age.Encrypter();
    recipients.forEach((recipient) => encrypter.addRecipient(recipient));
    const file = await encrypter.encrypt(plain);
    return isArmored ? age.armor.encode(file) : file;
}

async function read(age, identity, file, isArmored) {
    const decrypter = new age.Decrypter();
    decrypter.addIdentity(identity);
    return decrypter.decrypt(isArmored ? age.armor.decode(file.toString()) : file);
}

async function checkRecipients(age, peer, keys) {
    let files = 0;
    const to = keys.recipients.flatMap((recipient) => ['--recipient', recipient]);
    for (const size of [...SIZES, randomBytes(2).readUInt16BE() * 5]) {
        const plain = randomBytes(size);
        for (const isArmored of [false, true]) {
            const where = `${size} bytes, ${isArmored ? 'armored' : 'binary'}`;
            const ours = must(agecheck(peer,
                ['encrypt', ...to, ...(isArmored ? ['--armor'] : [])], plain));
            const other = await theirs(age, plain, keys.recipients, isArmored);
            assert.equal(ours.length, other.length, where);
            for (const [index, identity] of keys.identities.entries()) {
                assert.deepEqual(Buffer.from(await read(age, identity, ours, isArmored)), plain, where);
                assert.deepEqual(
                    must(agecheck(peer, ['decrypt', '--identity', keys.files[index]], other)), plain,
                    where);
                files += 2;
            }
            assert.equal(agecheck(peer, ['decrypt', '--identity', keys.stranger], other).code,
                NO_MATCH, where);
        }
    }
    return files;
}

async function checkPassphrase(age, peer) {
    const passphrase = 'Käse und Wein';
    const plain = Buffer.from('kept behind words');
    const fd = ['--passphrase-fd', '3'];
    const ours = must(agecheck(peer, ['encrypt', ...fd, '--work-factor', '10'], plain, passphrase));
    const decrypter = new age.Decrypter();
    decrypter.addPassphrase(passphrase);
    assert.deepEqual(Buffer.from(await decrypter.decrypt(ours)), plain);

    const encrypter = new age.Encrypter();
    encrypter.setScryptWorkFactor(10);
    encrypter.setPassphrase(passphrase);
    const other = await encrypter.encrypt(plain);
    assert.deepEqual(must(agecheck(peer, ['decrypt', ...fd], other, passphrase)), plain);
    assert.equal(agecheck(peer, ['decrypt', ...fd], other, `${passphrase}!`).code, NO_MATCH);
}

await run(async (peer) => {
    const age = await library();
    const identities = [await age.generateX25519Identity(), await age.generateX25519Identity()];
    const files = ['key1', 'key2', 'stranger'].map((name) => path.join(peer.dir, name));
    for (const [index, identity] of [...identities, await age.generateX25519Identity()].entries()) {
        writeFileSync(files[index], `# made for a test\n${identity}\n`, { mode: 0o600 });
    }
    const recipients = await Promise.all(identities.map((one) => age.identityToRecipient(one)));
    const count = await checkRecipients(age, peer,
        { identities, recipients, files, stranger: files[2] });
    await checkPassphrase(age, peer);

    // A post-quantum file is told as what it is, not as a wrong key.
    const quantum = await age.generateHybridIdentity();
    writeFileSync(files[2], `${quantum}\n`);
    const file = await theirs(age, Buffer.from('x'), [await age.identityToRecipient(quantum)], false);
    assert.equal(agecheck(peer, ['decrypt', '--identity', files[2]], file).code, 19);
    console.log(`${count} files to and from npm's age-encryption, and passphrases: all read`);
});
