//! Sharing: private `\Seen`, rights tested in the writer, quota.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; the lint exempts only the test functions themselves"
)]

#[path = "house/stepped.rs"]
mod house;

use house::House;
use imap::acl::{Rights, RightsChange};
use imap::command::StoreAction;
use imap::flag::{Flag, SystemFlag};
use imap::number::{ModSeq, ModSeqOrZero};
use imap::set::UidSet;
use proptest::prelude::*;
use std::future::Future as _;
use store::memory::Fate;
use store::{
    Account, AccountChange, AccountId, Change, Error, Grantee, Mailbox, MailboxId, MailboxState,
    NewMessage, Options, Outcome, Quota, Stored, Usage,
};

const SEEN: Flag = Flag::System(SystemFlag::Seen);
const FLAGGED: Flag = Flag::System(SystemFlag::Flagged);

/// Ann's mailbox `Team` with `count` messages, which Bob and Eve may read and change.
struct Team {
    house: House,
    ann: Account,
    bob: Account,
    eve: Account,
    id: MailboxId,
}

impl Team {
    fn new(count: usize) -> Self {
        let house = House::new(
            Default::default(),
            Default::default(),
            Options { fold_bytes: 64, ..Options::default() },
        );
        let [ann, bob, eve] = ["ann", "bob", "eve"].map(|name| house.account(name));
        let mailbox = house.create(&ann, "Team");
        house.append(&mailbox, count);
        let team = Self { house, ann, bob, eve, id: mailbox.id() };
        team.set_acl("bob", "lrswite").unwrap();
        team.set_acl("eve", "lrswite").unwrap();
        team
    }

    fn account(&self, name: &str) -> &Account {
        match name {
            "ann" => &self.ann,
            "bob" => &self.bob,
            _ => &self.eve,
        }
    }

    fn change(&self, change: AccountChange) -> Result<Outcome, Error> {
        self.house.run(self.house.store.submit_account(self.ann.id(), change))
    }

    fn set_acl(&self, name: &str, letters: &str) -> Result<Outcome, Error> {
        let grantee = Grantee::User { account: self.account(name).id(), name: name.into() };
        let rights = RightsChange::Set(Rights::parse(letters).unwrap());
        let (owner, negative) = ("ann".into(), false);
        self.change(AccountChange::SetAcl { name: "Team".into(), grantee, negative, rights, owner })
    }

    fn private(&self, private: bool) {
        self.change(AccountChange::SetPrivateSeen { name: "Team".into(), private }).unwrap();
    }

    fn of(&self, name: &str) -> Mailbox {
        let user = self.account(name).id();
        self.house.run(self.house.store.mailbox_of(self.id, user)).unwrap()
    }

    fn store(&self, name: &str, uids: (u32, u32), flag: Flag, since: Option<u64>) -> Stored {
        let change = Change::StoreFlags {
            mailbox: self.id,
            uids: UidSet::from_ranges([uids]),
            condition: since.map(|n| ModSeqOrZero::new(n).unwrap()),
            action: StoreAction::Add,
            flags: vec![flag],
        };
        match self.house.run(self.house.store.submit_by(self.account(name).id(), change)) {
            Ok(Outcome::Stored(stored)) => stored,
            other => panic!("{other:?}"),
        }
    }

    /// Opens everything anew from what is stored.
    fn reopened(self) -> Self {
        let Self { house, ann, bob, eve, id } = self;
        let (engine, bodies) =
            (house.engine.crash(|| Fate::Kept), house.bodies.crash(|| Fate::Kept));
        let house = House::new(engine, bodies, Options { fold_bytes: 64, ..Options::default() });
        let open = |account: Account| house.run(house.store.account(account.id())).unwrap();
        let (ann, bob, eve) = (open(ann), open(bob), open(eve));
        Self { ann, bob, eve, id, house }
    }
}

fn highest(mailbox: &Mailbox) -> u64 {
    mailbox.state().highest_mod_seq().value()
}

/// UID, whether seen, MODSEQ.
fn rows(state: &MailboxState) -> Vec<(u32, bool, u64)> {
    let row =
        |m: &store::Message| (m.uid.value(), m.flags.has(SystemFlag::Seen), m.mod_seq.value());
    state.tree().iter().map(|(_, m)| row(m)).collect()
}

#[test]
fn ones_own_seen_moves_ones_own_numbers_and_nobody_elses() {
    // [S-19] [S-21]
    let team = Team::new(3);
    team.private(true);
    let mut action = StoreAction::Add;
    for _ in highest(&team.of("ann"))..100 {
        let (uids, flags) = (UidSet::from_ranges([(1, 1)]), vec![FLAGGED]);
        let change = Change::StoreFlags { mailbox: team.id, uids, condition: None, action, flags };
        team.house.run(team.house.store.submit(change)).unwrap();
        let add = action == StoreAction::Add;
        action = if add { StoreAction::Remove } else { StoreAction::Add };
    }
    let (bob, eve) = (team.of("bob"), team.of("eve"));
    assert_eq!((highest(&bob), highest(&eve)), (100, 100));
    for uid in [1, 2, 3, 3, 3] {
        team.store("eve", (uid, uid), SEEN, None);
    }
    assert_eq!((highest(&bob), highest(&eve)), (100, 103), "three changed something");
    team.store("bob", (1, 2), SEEN, None);
    team.store("bob", (3, 3), SEEN, None);
    assert_eq!((highest(&bob), highest(&eve)), (105, 103));
    assert_eq!(rows(&bob.state())[2], (3, true, 105));
    assert_eq!(bob.state().unseen(), 0);
    assert_eq!(team.of("ann").state().unseen(), 3);
    assert_eq!(highest(&team.of("ann")), 100);

    let shared = team.store("ann", (2, 2), FLAGGED, None);
    assert_eq!(
        shared.mod_seq,
        ModSeq::new(106),
        "the next shared change is above what anyone was shown"
    );
    for mailbox in [&bob, &eve] {
        let state = mailbox.state();
        assert_eq!(state.highest_mod_seq().value(), 106);
        assert_eq!(
            state.tree().changed_since(105).map(|(_, m)| m.uid.value()).collect::<Vec<_>>(),
            [2]
        );
    }
    let team = team.reopened();
    assert_eq!(rows(&team.of("bob").state()), [(1, true, 104), (2, true, 106), (3, true, 105)]);
    assert_eq!(highest(&team.of("bob")), 106);
}

#[test]
fn a_condition_on_seen_is_about_ones_own() {
    let team = Team::new(1);
    team.private(true);
    let since = highest(&team.of("bob"));
    team.store("eve", (1, 1), SEEN, None);
    let stored = team.store("bob", (1, 1), SEEN, Some(since));
    assert!(!stored.changed.is_empty(), "what eve did is not bob's");
    let late = team.store("bob", (1, 1), SEEN, Some(since));
    assert!(late.changed.is_empty() && !late.failed.is_empty());
}

#[test]
fn turning_private_seen_on_and_off_changes_uidvalidity_and_keeps_the_owners() {
    let team = Team::new(3);
    team.store("bob", (1, 1), SEEN, None);
    let first = team.of("bob").state().uid_validity();
    team.private(true);
    let second = team.of("bob").state().uid_validity();
    assert!(second > first);
    let entry = team.ann.state().mailbox("Team").unwrap().clone();
    assert_eq!(entry.uid_validity, second);
    team.store("bob", (2, 2), SEEN, None);
    team.store("ann", (3, 3), SEEN, None);
    team.private(true);
    assert_eq!(team.of("bob").state().uid_validity(), second, "nothing to turn on");
    team.private(false);
    let state = team.of("bob").state();
    assert!(state.uid_validity() > second);
    let seen: Vec<_> = rows(&state).into_iter().filter(|row| row.1).map(|row| row.0).collect();
    assert_eq!(seen, [1, 3], "what was seen before, and what the owner saw");
}

#[test]
fn rights_are_tested_where_the_change_is_applied() {
    let team = Team::new(2);
    let store = &team.house.store;
    let change = Change::StoreFlags {
        mailbox: team.id,
        uids: UidSet::from_ranges([(1, 1)]),
        condition: None,
        action: StoreAction::Add,
        flags: vec![FLAGGED],
    };
    // Queued while bob still may, applied behind the change that takes it from him, in one batch.
    let grantee = Grantee::User { account: team.bob.id(), name: "bob".into() };
    let rights = RightsChange::Remove(Rights::WRITE);
    let taken = store.submit(Change::Account {
        account: team.ann.id(),
        change: AccountChange::SetAcl {
            name: "Team".into(),
            grantee,
            negative: false,
            rights,
            owner: "ann".into(),
        },
    });
    let late = store.submit_by(team.bob.id(), change);
    team.house.run(taken).unwrap();
    assert_eq!(team.house.run(late).unwrap_err(), Error::NoPermission);
    let expunge = Change::Expunge { mailbox: team.id, uids: None };
    team.set_acl("bob", "lrs").unwrap();
    assert_eq!(
        team.house.run(store.submit_by(team.bob.id(), expunge)).unwrap_err(),
        Error::NoPermission
    );
    // Part of the rights: what may be changed is changed [S-167].
    let both = Change::StoreFlags {
        mailbox: team.id,
        uids: UidSet::from_ranges([(1, 2)]),
        condition: None,
        action: StoreAction::Add,
        flags: vec![FLAGGED, SEEN],
    };
    team.house.run(store.submit_by(team.bob.id(), both)).unwrap();
    assert!(
        team.of("ann")
            .state()
            .tree()
            .iter()
            .all(|(_, m)| { m.flags.has(SystemFlag::Seen) && !m.flags.has(SystemFlag::Flagged) })
    );
}

#[test]
fn a_stranger_may_do_nothing_and_an_owner_everything() {
    let team = Team::new(1);
    let stranger = AccountId(99);
    let directory = team.house.run(team.house.store.directory()).unwrap().state();
    let state = team.of("ann").state();
    assert_eq!(state.rights(stranger, directory.directory()), Rights::NONE);
    assert_eq!(state.rights(team.ann.id(), directory.directory()), Rights::ALL);
    assert_eq!(directory.directory().owners(team.bob.id()), [(team.ann.id(), "ann")]);
    team.house.run(team.house.store.delete_account("bob")).unwrap();
    let directory = team.house.run(team.house.store.directory()).unwrap().state();
    assert!(directory.directory().owners(team.bob.id()).is_empty());
}

#[test]
fn of_two_writers_one_gets_the_last_place() {
    let team = Team::new(3);
    let octets = team.ann.usage().octets;
    assert_eq!(team.ann.usage().messages, 3);
    let quota = Quota { messages: Some(4), ..Quota::default() };
    team.change(AccountChange::SetQuota(quota)).unwrap();
    let append = |by: &str| {
        let messages: Vec<NewMessage> = vec![team.house.message(b"Subject: x\r\n\r\n")];
        let change = Change::Append { mailbox: team.id, messages };
        team.house.store.submit_by(team.account(by).id(), change)
    };
    let (first, second) = (append("bob"), append("ann"));
    team.house.run(first).unwrap();
    assert!(matches!(team.house.run(second), Err(Error::OverQuota(_))));
    assert_eq!(team.ann.usage(), Usage { octets: octets + 14, messages: 4 });
    // A copy counts in full, a move within the account not at all, and what is expunged is given back.
    let other = team.house.create(&team.ann, "Other");
    let transfer = |remove| Change::Transfer {
        source: team.id,
        target: other.id(),
        uids: UidSet::from_ranges([(1, 1)]),
        remove,
    };
    let ann = team.ann.id();
    let copied = team.house.run(team.house.store.submit_by(ann, transfer(false)));
    assert!(matches!(copied, Err(Error::OverQuota(_))));
    team.house.run(team.house.store.submit_by(ann, transfer(true))).unwrap();
    assert_eq!(team.ann.usage().messages, 4);
    let deleted = Flag::System(SystemFlag::Deleted);
    team.store("ann", (2, 4), deleted, None);
    let expunge = Change::Expunge { mailbox: team.id, uids: None };
    team.house.run(team.house.store.submit(expunge)).unwrap();
    assert_eq!(team.ann.usage().messages, 1);
    let mailboxes = Quota { mailboxes: Some(3), ..Quota::default() };
    team.change(AccountChange::SetQuota(mailboxes)).unwrap();
    let create = AccountChange::Create { name: "One more".into(), special_use: Vec::new() };
    assert!(matches!(team.change(create), Err(Error::OverQuota(_))));
    let team = team.reopened();
    assert_eq!(team.ann.usage().messages, 1);
    team.change(AccountChange::Delete { name: "Other".into() }).unwrap();
    assert_eq!(team.ann.usage(), Usage::default());
}

#[test]
fn what_is_the_administrators_is_no_users() {
    let team = Team::new(1);
    let ann = team.ann.id();
    let member = AccountChange::SetMember {
        group: "all".into(),
        account: ann,
        name: "ann".into(),
        member: true,
    };
    for (account, change) in [
        (ann, AccountChange::SetQuota(Quota::default())),
        (ann, AccountChange::SetPrivateSeen { name: "Team".into(), private: true }),
        (AccountId::SHARED, member),
    ] {
        let done = team.house.run(team.house.store.submit_account_by(ann, account, change));
        assert_eq!(done.unwrap_err(), Error::NoPermission);
    }
    let configure = Change::Configure { mailbox: team.id, conflicts_by_message: true };
    let done = team.house.run(team.house.store.submit_by(ann, configure));
    assert_eq!(done.unwrap_err(), Error::NoPermission);
}

#[test]
fn an_account_ends_whole_though_a_mailbox_ends_with_it() {
    let team = Team::new(2);
    let store = &team.house.store;
    let (ann, inbox) = (team.ann.id(), team.house.mailbox(&team.ann, "INBOX"));
    let late = Change::Append { mailbox: team.id, messages: vec![team.house.message(b"x")] };
    // All in one batch.
    let delete = AccountChange::Delete { name: "Team".into() };
    let deleted = store.submit(Change::Account { account: ann, change: delete });
    let mut end = std::pin::pin!(store.delete_account("ann"));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(end.as_mut().poll(&mut context).is_pending());
    let late = store.submit_by(team.bob.id(), late);
    team.house.run(deleted).unwrap();
    team.house.run(end).unwrap();
    assert_eq!(team.house.run(late).unwrap_err(), Error::NonExistent);
    assert!(inbox.is_deleted() && team.ann.is_deleted());
    assert!(team.house.run(store.account_row("ann")).unwrap().is_none());
    let directory = team.house.run(store.directory()).unwrap().state();
    assert!(directory.directory().owners(team.bob.id()).is_empty());
}

#[test]
fn mail_is_taken_while_anyone_may_post() {
    let team = Team::new(0);
    let post = |letters: &str| {
        let (name, owner, grantee) = ("Team".into(), "ann".into(), Grantee::Anyone);
        let rights = RightsChange::Set(Rights::parse(letters).unwrap());
        let acl = AccountChange::SetAcl { name, grantee, negative: false, rights, owner };
        team.change(acl).unwrap();
        let messages = vec![team.house.message(b"Subject: x\r\n\r\n")];
        team.house.run(team.house.store.submit(Change::Post { mailbox: team.id, messages }))
    };
    assert_eq!(post("lri").unwrap_err(), Error::NoPermission);
    assert!(matches!(post("p"), Ok(Outcome::Appended(_))));
    assert_eq!(post("").unwrap_err(), Error::NoPermission);
    assert_eq!(team.of("ann").state().exists(), 1);
}

#[test]
fn uid_validity_below_shared_comes_from_the_clock() {
    // [S-158]
    let house = House::new(Default::default(), Default::default(), Options::default());
    let shared = house.run(house.store.directory()).unwrap();
    let ann = house.account("ann").id();
    let (group, name) = ("team".into(), "ann".into());
    let member = AccountChange::SetMember { group, account: ann, name, member: true };
    house.run(house.store.submit_account(AccountId::SHARED, member)).unwrap();
    let first = house.create(&shared, "Sales").state().uid_validity().value();
    assert!(i64::from(first) >= house.store.now(), "a directory made anew begins later: {first}");
    let delete = AccountChange::Delete { name: "Sales".into() };
    house.run(house.store.submit_account(AccountId::SHARED, delete)).unwrap();
    let engine = house.engine.crash(|| Fate::Kept);
    let house = House::new(engine, house.bodies.crash(|| Fate::Kept), Options::default());
    let shared = house.run(house.store.directory()).unwrap();
    assert_eq!(house.create(&shared, "Sales").state().uid_validity().value(), first + 1);
    assert!(shared.state().directory().is_member("team", ann));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is done, a view that follows equals one made anew, before and after a restart.
    #[test]
    fn a_view_that_follows_equals_one_made_anew(
        steps in prop::collection::vec((0..8u8, 1..400u32, 1..40u32), 1..40)
    ) {
        let team = Team::new(300);
        team.private(true);
        let follower = team.of("bob");
        let mut kept = follower.state();
        for (what, from, len) in steps {
            let uids = (from, from + len);
            match what {
                0 | 1 => drop(team.store("bob", uids, SEEN, None)),
                2 => drop(team.store("eve", uids, SEEN, None)),
                3 => drop(team.store("ann", uids, FLAGGED, None)),
                4 => drop(team.store("ann", uids, Flag::System(SystemFlag::Deleted), None)),
                5 => {
                    let change = Change::Expunge { mailbox: team.id, uids: None };
                    team.house.run(team.house.store.submit(change)).unwrap();
                }
                6 => team.house.append(&team.of("ann"), 1),
                // Between two looks: what bob had marked is unmarked.
                _ => [false, true].into_iter().for_each(|private| team.private(private)),
            }
            if from % 3 == 0 {
                kept = follower.state();
            }
        }
        kept = follower.as_seen(&follower.shared_state(), Some(&kept));
        let fresh = team.house.run(team.house.store.mailbox_of(team.id, team.bob.id())).unwrap();
        let followed = (rows(&kept), kept.highest_mod_seq(), kept.unseen());
        let glance = kept.glance(team.bob.id());
        drop(kept);
        drop(follower);
        let made = fresh.state();
        prop_assert_eq!(&followed, &(rows(&made), made.highest_mod_seq(), made.unseen()));
        let shared = fresh.shared_state().glance(team.bob.id());
        prop_assert_eq!((glance, shared.unseen), (shared, made.unseen()));
        drop((made, fresh));
        let team = team.reopened();
        let read = team.of("bob").state();
        prop_assert_eq!(&followed, &(rows(&read), read.highest_mod_seq(), read.unseen()));
    }
}
