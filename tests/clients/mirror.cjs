// Mirrors one mailbox in memory with imapflow and QRESYNC, through any number of lost connections.
//
// Its task is JSON in the first argument. Lines on standard input ask: "drop" closes the
// connection, "picture" wants the mirror as JSON, taken when the next NOOP is answered. It ends
// with its standard input.
'use strict';

const path = require('node:path');
const readline = require('node:readline');
const { createRequire } = require('node:module');

const task = JSON.parse(process.argv[2]);
const { ImapFlow } = createRequire(path.join(task.modules, 'x.js'))('imapflow');

const mirror = new Map(); // UID to flags
const counts = { connections: 0, resyncs: 0, vanished: 0, flags: 0, arrivals: 0, faults: [] };
let highest; // the HIGHESTMODSEQ up to which the mirror holds every change
let uidValidity;
let top = 0; // every message up to this UID has been read
let arrived = false;
let asked = false;
let client = null;
let wake = () => {};

function learn(message) {
    if (!message.uid) {
        counts.faults.push(`FETCH ${message.seq} without a UID`);
        return;
    }
    mirror.set(message.uid, [...message.flags].filter(flag => flag !== '\\Recent').sort());
}

function connection() {
    const fresh = new ImapFlow({
        host: task.host, port: task.port, secure: false, doSTARTTLS: false, logger: false,
        qresync: true, disableAutoIdle: true, auth: { user: 'user1', pass: 'secret' }
    });
    fresh.on('error', () => {}); // a cut is no news; 'close' follows
    fresh.on('close', () => wake());
    fresh.on('expunge', event => {
        if (!event.vanished) {
            counts.faults.push(`EXPUNGE ${event.seq} instead of VANISHED`);
        }
        counts.vanished++;
        mirror.delete(event.uid);
    });
    fresh.on('flags', event => {
        counts.flags++;
        learn(event);
        wake();
    });
    fresh.on('exists', event => {
        arrived = arrived || event.count > event.prevCount;
        wake();
    });
    return fresh;
}

// Read what arrived. Then, at the end of a command, the mirror is whole, and only then
// may the greatest mod-sequence seen be kept (RFC 7162 §6).
async function settle() {
    while (arrived) {
        arrived = false;
        for await (const message of client.fetch(`${top + 1}:*`, { uid: true, flags: true }, { uid: true })) {
            counts.arrivals++;
            learn(message);
        }
    }
    if (mirror.size !== client.mailbox.exists) {
        counts.faults.push(`${mirror.size} messages mirrored of ${client.mailbox.exists}`);
    }
    top = Math.max(top, ...mirror.keys());
    highest = client.mailbox.highestModseq;
}

async function open() {
    arrived = false;
    const box = await client.mailboxOpen(task.box, highest ? { changedSince: highest, uidValidity } : {});
    if (box.qresync) {
        counts.resyncs++;
    } else {
        if (highest) {
            counts.faults.push(`no QRESYNC from ${highest}`);
        }
        mirror.clear();
        top = 0;
        arrived = true;
    }
    uidValidity = box.uidValidity;
    await settle();
}

async function follow() {
    while (client.usable) {
        const news = new Promise(resolve => { wake = resolve; });
        if (!asked) {
            client.idle().catch(() => {});
            await news;
        }
        await client.noop();
        if (!client.usable) {
            return; // cut before the NOOP was answered
        }
        await settle();
        if (asked) {
            asked = false;
            console.log(JSON.stringify({ ...counts, picture: Object.fromEntries(mirror) }));
        }
    }
}

async function main() {
    const lines = readline.createInterface({ input: process.stdin });
    lines.on('line', line => {
        asked = asked || line === 'picture';
        if (line === 'drop' && client) {
            client.close();
        }
        wake();
    });
    lines.on('close', () => process.exit(0));
    for (;;) {
        client = connection();
        counts.connections++;
        try {
            await client.connect();
            await open();
            await follow();
        } catch (error) {
            if (client.usable) {
                throw error;
            }
        }
        client.close();
    }
}

main().catch(error => {
    console.error(error.stack, error.responseText || '');
    process.exit(1);
});
