"""What goes wrong with a cluster under Patroni: primaries lost or replaced, and networks divided.

A divided network leaves the old primary with some of the nodes, or with none, or with
all; or it only keeps the primary from etcd. When another has taken its place, those
nodes have to stop answering: a command is answered NO, or BYE, or not at all.
"""

from kit import wire

ANSWER_SECONDS = 25


def lose_primary(cluster, chance):
    """The primary is killed, or an administrator has another take its place; answers what was done."""
    what = chance.choice(["killed", "switched over"])
    cluster.lose_primary() if what == "killed" else cluster.hand_over()
    return what


def divide(running, chance, load):
    """Divide the network, see what answers, heal it; answers what was done and what is wrong."""
    cluster, old = running.database, running.database.leader()
    kept_from_etcd = chance.random() < 0.3
    cut = [] if kept_from_etcd else chance.sample(running.nodes, chance.randint(0, len(running.nodes)))
    watched = [(node, watch(node)) for node in cut]
    island = [old.host, *(node.host for node in cut)]
    if kept_from_etcd:
        old.host.away_from(cluster.etcd_host)
    else:
        cluster.network.cut_off(island)
    others = [member for member in cluster.members if member is not old]
    cluster.wait_other(old, others)
    if len(cut) < len(running.nodes):
        target = load.answered + 24
        load.wait(lambda: load.answered >= target, "claims go on by the nodes that were not cut off")
    for _, connection in watched:
        connection.send("late UID FETCH 1 (FLAGS MODSEQ)")
    faults = [fault for node, connection in watched for fault in answers_still(running, node, connection)]
    if kept_from_etcd:
        old.host.back_to(cluster.etcd_host)
    else:
        cluster.network.heal(island)
    return "kept from etcd" if kept_from_etcd else f"with {len(cut)} nodes", faults


def watch(node):
    """A client of this node that was there before."""
    connection = wire.Connection(node.imap, "user1", timeout=ANSWER_SECONDS)
    connection.must("SELECT INBOX (CONDSTORE)")
    return connection


def answers_still(running, node, connection):
    """What a node that has only the old primary says, when it says anything that it should not."""
    try:
        tagged, _ = connection.until("late")
    except (OSError, wire.WireError):
        return
    finally:
        connection.close()
    if tagged.startswith("OK"):
        number = running.nodes.index(node) + 1
        yield f"node {number}, cut off with the old primary, answered {tagged}"
