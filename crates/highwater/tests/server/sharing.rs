//! Shared mailboxes, groups and quotas: administered with a server and without one, and mail for `shared+NAME`.

use std::net::TcpStream;
use std::path::Path;

use crate::support::{Client, Server, run, run_ok, text};

/// A data directory with accounts `ada` and `bob`.
struct House(tempfile::TempDir);

impl House {
    fn new() -> Self {
        let house = Self(tempfile::tempdir().unwrap());
        let add = ["user", "add", "ada", "bob", "--password-stdin", "--data", house.at()];
        run_ok(&add, "one\ntwo\n");
        house
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn at(&self) -> &str {
        self.path().to_str().unwrap()
    }

    /// Does what must succeed; answers what is printed.
    fn ok(&self, command: &str) -> String {
        run_ok(&self.words(command), "")
    }

    /// Does what must fail; answers why it did.
    fn refused(&self, command: &str) -> String {
        let output = run(&self.words(command), "");
        assert_eq!(output.status.code(), Some(1), "{command}: {}", text(&output.stderr));
        text(&output.stderr)
    }

    fn words<'a>(&'a self, command: &'a str) -> Vec<&'a str> {
        command.split(' ').chain(["--data", self.at()]).collect()
    }
}

/// Goes through everything that can be said about a shared mailbox.
fn life_of_a_shared_mailbox(house: &House) {
    house.ok("group add support bob");
    house.ok("mailbox create --shared Sales --seen private");
    house.ok("mailbox create --shared Shared/Sales/EU");
    let again = house.refused("mailbox create --shared Sales");
    assert!(again.contains("there is a mailbox `Sales` already"), "{again}");
    house.ok("mailbox acl set --shared Sales anyone lp");
    house.ok("mailbox acl set Sales $support lrswited --shared");
    house.ok("mailbox acl set --shared Shared/Sales ada lrs");
    house.ok("mailbox acl set --shared Sales ada +w");
    house.ok("mailbox acl set --shared Sales ada -s");
    house.ok("mailbox acl set --shared Sales -bob w");
    let acl = house.ok("mailbox acl show --shared Sales");
    assert_eq!(acl, "anyone lp\n$support lrswite\nada lrw\n-bob w\n");
    house.ok("mailbox acl delete --shared Sales -bob");
    let acl = house.ok("mailbox acl show --shared Sales --json");
    assert!(acl.ends_with("{\"identifier\":\"ada\",\"rights\":\"lrw\"}\n"), "{acl}");
    let list = house.ok("mailbox list --shared --json");
    let sales = concat!(
        r#"{"acl":[{"identifier":"anyone","rights":"lp"},{"identifier":"$support","rights":"lrswite"},"#,
        r#"{"identifier":"ada","rights":"lrw"}],"conflicts":"flag","messages":0,"name":"Sales","#,
        r#""octets":0,"seen":"private","special_use":[]}"#
    );
    assert_eq!(list.lines().next().unwrap(), sales);
    assert!(list.contains(r#""name":"Sales/EU""#), "{list}");
    house.ok("mailbox configure --shared Sales --seen shared --conflicts message");
    let list = house.ok("mailbox list --shared");
    let sales =
        "Sales  0 messages, 0 B, conflicts by message, anyone lp, $support lrswite, ada lrw";
    assert_eq!(list, format!("{sales}\nSales/EU  0 messages, 0 B\n"));
    house.ok("mailbox delete --shared Sales");
    house.ok("mailbox delete --shared Sales/EU");
    assert_eq!(house.ok("mailbox list --shared"), "");
}

#[test]
fn shared_mailboxes_are_managed_without_a_server() {
    life_of_a_shared_mailbox(&House::new());
}

#[test]
fn shared_mailboxes_are_managed_through_a_running_server() {
    let house = House::new();
    let _server = Server::on(house.path(), &[]);
    life_of_a_shared_mailbox(&house);
}

#[test]
fn what_cannot_be_shared_is_refused_with_what_to_do() {
    let house = House::new();
    house.ok("mailbox create --shared Sales");
    for (command, hint) in [
        ("mailbox acl set --shared Sales eve lr", "`user list`"),
        ("mailbox acl set --shared Sales $support lr", "`group add support USER`"),
        ("mailbox acl set --shared Sales ada lrq", "rights out of lrswipkxtea"),
        ("mailbox acl set --shared Sales - lr", "anyone"),
        ("mailbox acl delete --shared Sales ada", "`mailbox acl show`"),
        ("mailbox acl set --user ada INBOX ada lr", "always has every right"),
        ("mailbox acl show --shared Sails", "`mailbox list --shared`"),
        ("mailbox acl show --user ada Sails", "as LIST shows them"),
        ("mailbox delete --user ada inbox", "INBOX cannot be deleted"),
        ("mailbox delete --shared Sails", "`mailbox list --shared`"),
        ("mailbox create --shared INBOX", "each user's own"),
        ("mailbox create --user ada Shared/Sales", "cannot be a user's own"),
        ("mailbox create --shared a//b", "empty level"),
        ("group add $$ ada", "groups"),
        ("group add anyone ada", "everyone"),
        ("group add support eve", "`user list`"),
        ("group remove support ada", "`group list`"),
    ] {
        let why = house.refused(command);
        assert!(why.contains(hint), "{command}: {why}");
    }
    for command in [
        "mailbox create Sales",
        "mailbox create --shared --user ada Sales",
        "mailbox configure --shared Sales",
        "quota set ada",
        "quota set ada --storage 10X",
        "quota set --messages 3",
        "quota show ada --shared",
    ] {
        let output = run(&house.words(command), "");
        assert_eq!(output.status.code(), Some(2), "{command}: {}", text(&output.stderr));
    }
}

#[test]
fn the_entry_of_an_account_that_is_gone_can_be_removed_and_is_not_inherited() {
    let house = House::new();
    house.ok("mailbox create --user ada Team");
    house.ok("mailbox acl set --user ada Team bob lrs");
    house.ok("group add team bob ada");
    house.ok("user delete bob");
    assert_eq!(house.ok("group list"), "team: ada\n");
    assert_eq!(house.ok("mailbox acl show --user ada Team"), "bob lrs\n");
    run_ok(&["user", "add", "bob", "--password-stdin", "--data", house.at()], "new\n");
    house.ok("mailbox acl set --user ada Team bob +l");
    assert_eq!(house.ok("mailbox acl show --user ada Team"), "bob l\n", "another bob");
    house.ok("user delete bob");
    house.ok("mailbox acl delete --user ada Team bob");
    assert_eq!(house.ok("mailbox acl show --user ada Team"), "");
}

#[test]
fn groups_are_there_while_they_have_members() {
    let house = House::new();
    house.ok("group add $support ada bob");
    house.ok("group add sales bob");
    assert_eq!(house.ok("group list"), "sales: bob\nsupport: ada bob\n");
    house.ok("group remove sales bob");
    house.ok("group remove support bob");
    let list = house.ok("group list --json");
    assert_eq!(list, "{\"group\":\"support\",\"members\":[\"ada\"]}\n");
}

/// Delivers a message of so many octets at least to each; answers what is said after RCPT, and then after DATA.
fn deliver(lmtp: &mut Client<TcpStream>, to: &[&str], octets: usize) -> Vec<String> {
    lmtp.send("RSET\r\nMAIL FROM:<>\r\n");
    lmtp.line();
    lmtp.line();
    let mut replies = Vec::new();
    for to in to {
        lmtp.send(format!("RCPT TO:<{to}>\r\n"));
        replies.push(lmtp.line());
    }
    let taken = replies.iter().filter(|reply| reply.starts_with("250")).count();
    if taken > 0 {
        lmtp.send(format!("DATA\r\nSubject: x\r\n\r\n{}\r\n.\r\n", "x".repeat(octets)));
        lmtp.until("354");
        replies.extend((0..taken).map(|_| lmtp.line()));
    }
    replies
}

fn lmtp(server: &Server) -> Client<TcpStream> {
    let mut lmtp = server.connect("lmtp");
    lmtp.line();
    lmtp.send("LHLO x\r\n");
    lmtp.until("250 ");
    lmtp
}

#[test]
fn quotas_are_set_shown_and_kept() {
    let house = House::new();
    let server = Server::on(house.path(), &[]);
    let mut lmtp = lmtp(&server);
    house.ok("quota set ada --storage 1M --messages 2 --mailboxes 3");
    house.ok("quota set ada --storage 10K");
    let shown = house.ok("quota show ada");
    assert_eq!(shown, "ada  storage 0 B of 10 KiB, messages 0 of 2, mailboxes 1 of 3\n");
    let all = house.ok("quota show");
    let others = "bob  storage 0 B, messages 0, mailboxes 1\nShared/  storage 0 B, messages 0, mailboxes 0\n";
    assert_eq!(all, format!("{shown}{others}"));
    let replies = deliver(&mut lmtp, &["ada", "bob"], 20_000);
    assert!(replies[2].starts_with("452 4.2.2") && replies[3].starts_with("250"), "{replies:?}");
    for _ in 0..2 {
        assert!(deliver(&mut lmtp, &["ada"], 10)[1].starts_with("250"));
    }
    assert_eq!(deliver(&mut lmtp, &["ada"], 10)[1], "452 4.2.2 The mailbox is full");
    house.ok("quota set ada --messages none");
    assert!(deliver(&mut lmtp, &["ada"], 10)[1].starts_with("250"));
    let shown = house.ok("quota show ada --json");
    let rest = r#"},"messages":{"limit":null,"used":3},"storage":{"limit":10240,"used":"#;
    assert!(shown.contains(rest), "{shown}");
    let mbox = house.path().join("three.mbox");
    let message = |n| format!("From a@b Thu Jan  1 00:00:0{n} 1970\nSubject: {n}\n\nx\n\n");
    std::fs::write(&mbox, (0..3).map(message).collect::<String>()).unwrap();
    house.ok("quota set ada --messages 5");
    let import = format!("import --user ada {}", mbox.to_str().unwrap());
    assert!(house.refused(&import).contains("as many messages as it may"));
    assert!(
        house.ok("quota show ada").contains("messages 5 of 5"),
        "what there is room for is taken"
    );
    house.ok("mailbox create --user ada One");
    house.ok("mailbox create --user ada Two");
    assert!(house.refused("mailbox create --user ada Three").contains("delete one first"));
    house.ok("quota set --shared --mailboxes 0");
    assert!(house.refused("mailbox create --shared Sales").contains("delete one first"));
    assert!(house.ok("quota show --shared").ends_with("mailboxes 0 of 0\n"));
}

#[test]
fn what_is_administered_is_what_clients_see() {
    let house = House::new();
    let server = Server::on(house.path(), &[]);
    let mut bob = server.connect("imap");
    bob.line();
    bob.ok("LOGIN bob two");
    house.ok("mailbox create --shared Sales");
    assert_eq!(bob.ok("LIST \"\" Shared/*").len(), 1, "it is nobody's yet");
    house.ok("group add support bob");
    house.ok("mailbox acl set --shared Sales $support lrsip");
    assert!(bob.ok("LIST \"\" Shared/*")[0].ends_with("Shared/Sales"));
    house.ok("quota set --shared --messages 0");
    let refused = bob.command("APPEND Shared/Sales {6+}\r\na: b\r\n");
    assert!(refused[0].contains("NO [OVERQUOTA]"), "{refused:?}");
    house.ok("quota set --shared --messages none");
    bob.ok("APPEND Shared/Sales {6+}\r\na: b\r\n");
    bob.ok("SELECT Shared/Sales");
    bob.send("i IDLE\r\n");
    bob.until("+");
    house.ok("group remove support bob");
    assert!(bob.line().starts_with("* BYE"), "who may no longer read is sent away");
}

#[test]
fn mail_for_a_shared_mailbox_needs_the_right_to_post_of_everyone() {
    let house = House::new();
    let server = Server::on(house.path(), &[]);
    let mut lmtp = lmtp(&server);
    house.ok("mailbox create --shared Sales");
    house.ok("mailbox create --shared Sales/EU");
    house.ok("mailbox acl set --shared Sales ada p");
    let to = ["shared+Sales@example.org", "shared+Nowhere@example.org", "shared@example.org"];
    let unknown = "550 5.1.1 There is no such user here";
    assert_eq!(deliver(&mut lmtp, &to, 1), [unknown; 3], "what takes no mail is not there");
    house.ok("mailbox acl set --shared Sales anyone p");
    let replies = deliver(&mut lmtp, &[to[0], to[1], "Shared+Sales", "shared+Sales/EU"], 1);
    let codes: Vec<_> = replies.iter().map(|reply| &reply[..9]).collect();
    let (yes, no) = ("250 2.1.5", "550 5.1.1");
    assert_eq!(codes, [yes, no, yes, no, yes, yes], "{replies:?}");
    // One answer for each RCPT, and one message: both are the same mailbox.
    assert!(house.ok("mailbox list --shared").starts_with("Sales  1 messages"));
    // The right is tested again by whoever writes, after RCPT has said yes.
    for (change, answer, undo) in [
        ("acl set --shared Sales -anyone p", "550 5.7.1", "acl delete --shared Sales -anyone"),
        ("acl delete --shared Sales anyone", "550 5.7.1", "acl set --shared Sales anyone p"),
        ("delete --shared Sales", "450 4.2.0", "create --shared Sales"),
    ] {
        lmtp.send(format!("RSET\r\nMAIL FROM:<>\r\nRCPT TO:<{}>\r\nDATA\r\n", to[0]));
        lmtp.until("354");
        house.ok(&format!("mailbox {change}"));
        lmtp.send("Subject: x\r\n\r\n.\r\n");
        let reply = lmtp.line();
        assert!(reply.starts_with(answer), "{change}: {reply}");
        assert_eq!(deliver(&mut lmtp, &to[..1], 1), [unknown], "RCPT looks as well");
        house.ok(&format!("mailbox {undo}"));
    }
    house.ok("mailbox acl set --shared Sales anyone p");
    house.ok("quota set --shared --messages 1");
    assert!(deliver(&mut lmtp, &to[..1], 1)[1].starts_with("250 2.1.5"));
    assert_eq!(deliver(&mut lmtp, &to[..1], 1)[1], "452 4.2.2 The mailbox is full");
}

#[test]
fn an_account_named_shared_gets_its_own_mail() {
    let house = House::new();
    run_ok(&["user", "add", "shared", "--password-stdin", "--data", house.at()], "three\n");
    let server = Server::on(house.path(), &[]);
    house.ok("mailbox create --shared Sales");
    house.ok("mailbox acl set --shared Sales anyone p");
    let replies = deliver(&mut lmtp(&server), &["shared+Sales@example.org"], 1);
    assert!(replies[1].starts_with("250"), "{replies:?}");
    assert!(house.ok("mailbox list --shared").starts_with("Sales  0 messages"));
    assert!(house.ok("mailbox list --user shared").starts_with("INBOX  1 messages"));
}
