// Drives imapflow for one task, given as JSON, and prints what it saw as JSON.
'use strict';

const crypto = require('node:crypto');
const path = require('node:path');
const { createRequire } = require('node:module');

const task = JSON.parse(process.argv[2]);
const { ImapFlow } = createRequire(path.join(task.modules, 'x.js'))('imapflow');

const text = value => (value === undefined ? null : String(value));
const digest = octets => crypto.createHash('sha256').update(octets).digest('hex').slice(0, 16);

// The account as imapflow reads it: octets by hash, with flags.
async function everything(client, seen) {
    seen.content = {};
    for await (const message of client.fetch('1:*', { uid: true, flags: true, source: true })) {
        seen.content[digest(message.source)] = [...message.flags];
    }
}

async function changes(client, seen) {
    seen.changed = [];
    const range = { uid: true, changedSince: BigInt(task.changedSince) };
    for await (const message of client.fetch('1:*', { uid: true, flags: true }, range)) {
        seen.changed.push(message.uid);
    }
}

async function main() {
    const client = new ImapFlow({
        host: task.host, port: task.port, secure: false, doSTARTTLS: false, logger: false,
        qresync: Boolean(task.qresync), auth: { user: 'user1', pass: 'secret' }
    });
    const seen = { vanished: [], changed: [] };
    client.on('expunge', event => event.vanished && seen.vanished.push(event.uid));
    client.on('flags', event => seen.changed.push(event.uid));
    await client.connect();
    const options = task.qresync
        ? { changedSince: BigInt(task.qresync), uidValidity: BigInt(task.uidValidity) }
        : {};
    const box = await client.mailboxOpen(task.box, options);
    seen.messages = box.exists;
    seen.highestModseq = text(box.highestModseq);
    seen.uidValidity = text(box.uidValidity);
    if (task.changedSince) {
        await changes(client, seen);
    } else if (task.store) {
        const condition = { uid: true, unchangedSince: BigInt(task.unchangedSince) };
        seen.stored = await client.messageFlagsAdd(String(task.store), [task.flag], condition);
    } else if (!task.qresync) {
        await everything(client, seen);
    }
    await client.logout();
    console.log(JSON.stringify(seen));
}

main().catch(error => {
    console.error(error.stack, error.responseText || '');
    process.exit(1);
});
