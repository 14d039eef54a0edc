//! From a command's text to the file that carries it out.
//!
//! # Standards
//! RFC 3501 §3 (which command is valid in which state) and §6.

use super::{Next, Reply, Session};
use crate::refusal::{Refusal, Stop};
use crate::shared::{Closed, Sink};
use imap::command::{Command, CommandBody, Tag};
use imap::encode::{self, Code, Status};
use imap::parse::DecodeError;

/// When a command may be given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum When {
    Always,
    BeforeLogin,
    AfterLogin,
    Selected,
}

impl Session {
    /// Carries out one command.
    pub(crate) async fn take_command<S: Sink>(
        &mut self,
        text: &[u8],
        sink: &mut S,
    ) -> Result<Next, Closed> {
        let since = self.shared.observer.now_nanos();
        match imap::parse::command(text) {
            Ok(Command { tag, body: CommandBody::Store(store) }) => {
                self.store_begin(tag, store, since, sink).await
            }
            Ok(command) => {
                if self.finish_stores(sink).await? == Next::Close {
                    return Ok(Next::Close);
                }
                self.run(command, since, sink).await
            }
            Err(error) => {
                if self.finish_stores(sink).await? == Next::Close {
                    return Ok(Next::Close);
                }
                Ok(self.misunderstood(error.tag.as_ref(), &error.error, text, sink))
            }
        }
    }

    /// Answers BAD to what cannot be carried out as it was sent.
    pub(super) fn misunderstood<S: Sink>(
        &mut self,
        tag: Option<&Tag>,
        error: &DecodeError,
        text: &[u8],
        sink: &mut S,
    ) -> Next {
        if tag.is_some() && names_select(text) {
            // A SELECT that fails leaves nothing selected, whatever it failed for [S-115].
            self.close_view(sink);
        }
        self.bad(tag, &error.to_string(), sink)
    }

    async fn run<S: Sink>(
        &mut self,
        command: Command,
        since: u64,
        sink: &mut S,
    ) -> Result<Next, Closed> {
        let Command { tag, body } = command;
        let (name, when) = describe(&body);
        if is_sync_point(&body)
            && let Err(error) = self.follow().await
        {
            return self.finish(&tag, name, since, Err(Refusal::from(error).into()), sink).await;
        }
        if self.login.as_ref().is_some_and(|login| login.account.is_deleted()) {
            let text = "The account was deleted";
            encode::untagged(sink.buffer(), Status::Bye, Some(&Code::NonExistent), text);
            return Ok(Next::Close);
        }
        if let Err(refusal) = self.may_run(name, when) {
            return self.finish(&tag, name, since, Err(refusal.into()), sink).await;
        }
        let result = match body {
            CommandBody::Logout => return Ok(self.logout(&tag, sink)),
            CommandBody::StartTls => return Ok(self.start_tls(&tag, sink)),
            CommandBody::Idle => return self.idle(tag, sink).await,
            CommandBody::Authenticate { mechanism, initial } => {
                return self.authenticate(tag, &mechanism, initial.as_ref(), sink).await;
            }
            body => self.carry_out(&tag, body, sink).await,
        };
        self.finish(&tag, name, since, result, sink).await
    }

    /// Brings what the session looks at up to what has been written elsewhere.
    async fn follow(&mut self) -> Result<(), store::Error> {
        let Some(login) = &self.login else { return Ok(()) };
        let mailbox = self.view.as_ref().map(|view| &view.mailbox);
        self.shared.store.follow(mailbox, &[&login.account, &login.directory]).await
    }

    /// The commands that end with one tagged line and change nothing about how the next line is read.
    async fn carry_out<S: Sink>(
        &mut self,
        tag: &Tag,
        body: CommandBody,
        sink: &mut S,
    ) -> Result<Reply, Stop> {
        match body {
            CommandBody::Capability => self.capability(sink),
            CommandBody::Noop => Ok(Reply::ok("Done")),
            CommandBody::Check => Ok(Self::check()),
            CommandBody::Id(_) => self.id(sink),
            CommandBody::Login { user, password } => self.log_in(&user, &password).await,
            CommandBody::Enable(names) => self.enable(&names, sink),
            CommandBody::Select(select) => self.select(&select, sink).await,
            CommandBody::Create { mailbox, special_use } => {
                self.create(&mailbox, special_use.as_deref()).await
            }
            CommandBody::Delete(mailbox) => self.delete(mailbox).await,
            CommandBody::Rename { from, to } => self.rename(from, &to).await,
            CommandBody::Subscribe(mailbox) => self.subscribe(mailbox).await,
            CommandBody::Unsubscribe(mailbox) => self.unsubscribe(mailbox).await,
            CommandBody::List(list) => self.list(&list, sink).await,
            CommandBody::Lsub { reference, pattern } => self.lsub(&reference, &pattern, sink),
            CommandBody::Namespace => Ok(Self::namespace(sink)),
            CommandBody::Status { mailbox, items } => self.status(&mailbox, &items, sink).await,
            CommandBody::Close => self.close_mailbox().await,
            CommandBody::Unselect => Ok(self.unselect()),
            CommandBody::Expunge(set) => self.expunge(set.as_ref()).await,
            CommandBody::Search(search) => self.search(tag, &search, sink).await,
            CommandBody::Fetch(fetch) => self.fetch(&fetch, sink).await,
            CommandBody::Copy(transfer) => self.copy(&transfer).await,
            CommandBody::Move(transfer) => self.move_messages(&transfer, sink).await,
            CommandBody::Compress => Err(Refusal::bad("COMPRESS is not offered").into()),
            CommandBody::Notify(_) => Err(Refusal::bad("NOTIFY is not offered").into()),
            CommandBody::Store(_)
            | CommandBody::Logout
            | CommandBody::StartTls
            | CommandBody::Idle
            | CommandBody::Authenticate { .. } => Err(Refusal::bad("Out of place").into()),
            CommandBody::SetAcl { mailbox, identifier, change } => {
                self.set_acl(&mailbox, &identifier, change).await
            }
            CommandBody::DeleteAcl { mailbox, identifier } => {
                self.delete_acl(&mailbox, &identifier).await
            }
            CommandBody::GetAcl(mailbox) => self.get_acl(&mailbox, sink).await,
            CommandBody::ListRights { mailbox, identifier } => {
                self.list_rights(&mailbox, &identifier, sink).await
            }
            CommandBody::MyRights(mailbox) => self.my_rights(&mailbox, sink).await,
            CommandBody::GetQuota(root) => self.get_quota(&root, sink),
            CommandBody::GetQuotaRoot(mailbox) => self.get_quota_root(&mailbox, sink).await,
            CommandBody::SetQuota { .. } => Self::set_quota(),
        }
    }

    fn may_run(&self, name: &'static str, when: When) -> Result<(), Refusal> {
        if let Some(capability) = needed(name)
            && !self.offers(capability)
        {
            return Err(Refusal::bad(format!("{capability} is switched off here")));
        }
        match when {
            When::BeforeLogin if self.login.is_some() => Err(Refusal::bad("Already logged in")),
            When::AfterLogin | When::Selected if self.login.is_none() => {
                Err(Refusal::bad(format!("Log in before {name}")))
            }
            When::Selected if self.view.is_none() => Err(Refusal::unselected()),
            _ => Ok(()),
        }
    }
}

/// Whether the command shows what is in the store, or is where a client expects to hear of news. STORE is not among them:
/// the writer learns what is newest before it tests a condition.
fn is_sync_point(body: &CommandBody) -> bool {
    !matches!(
        body,
        CommandBody::Capability
            | CommandBody::Logout
            | CommandBody::Id(_)
            | CommandBody::StartTls
            | CommandBody::Authenticate { .. }
            | CommandBody::Login { .. }
            | CommandBody::Enable(_)
            | CommandBody::Namespace
            | CommandBody::Compress
            | CommandBody::Notify(_)
            | CommandBody::Close
            | CommandBody::Unselect
            | CommandBody::Store(_)
            | CommandBody::SetQuota { .. }
    )
}

/// The capability without which the command is not there.
fn needed(name: &'static str) -> Option<&'static str> {
    match name {
        "IDLE" | "MOVE" | "NAMESPACE" | "UNSELECT" | "ID" | "ENABLE" => Some(name),
        "SETACL" | "DELETEACL" | "GETACL" | "LISTRIGHTS" | "MYRIGHTS" => Some("ACL"),
        "GETQUOTA" | "GETQUOTAROOT" | "SETQUOTA" => Some("QUOTA"),
        _ => None,
    }
}

/// Whether the line, which did not parse, was meant as SELECT or EXAMINE.
fn names_select(text: &[u8]) -> bool {
    let word = text.split(|octet| *octet == b' ').nth(1).unwrap_or_default();
    word.eq_ignore_ascii_case(b"SELECT") || word.eq_ignore_ascii_case(b"EXAMINE")
}

/// A command's name, for measuring, and when it may be given.
fn describe(body: &CommandBody) -> (&'static str, When) {
    match body {
        CommandBody::Capability => ("CAPABILITY", When::Always),
        CommandBody::Noop => ("NOOP", When::Always),
        CommandBody::Logout => ("LOGOUT", When::Always),
        CommandBody::Id(_) => ("ID", When::Always),
        CommandBody::StartTls => ("STARTTLS", When::BeforeLogin),
        CommandBody::Authenticate { .. } => ("AUTHENTICATE", When::BeforeLogin),
        CommandBody::Login { .. } => ("LOGIN", When::BeforeLogin),
        CommandBody::Enable(_) => ("ENABLE", When::AfterLogin),
        CommandBody::Select(_) => ("SELECT", When::AfterLogin),
        CommandBody::Create { .. } => ("CREATE", When::AfterLogin),
        CommandBody::Delete(_) => ("DELETE", When::AfterLogin),
        CommandBody::Rename { .. } => ("RENAME", When::AfterLogin),
        CommandBody::Subscribe(_) => ("SUBSCRIBE", When::AfterLogin),
        CommandBody::Unsubscribe(_) => ("UNSUBSCRIBE", When::AfterLogin),
        CommandBody::List(_) => ("LIST", When::AfterLogin),
        CommandBody::Lsub { .. } => ("LSUB", When::AfterLogin),
        CommandBody::Namespace => ("NAMESPACE", When::AfterLogin),
        CommandBody::Status { .. } => ("STATUS", When::AfterLogin),
        CommandBody::Idle => ("IDLE", When::AfterLogin),
        CommandBody::Compress => ("COMPRESS", When::AfterLogin),
        CommandBody::Notify(_) => ("NOTIFY", When::AfterLogin),
        CommandBody::Check => ("CHECK", When::Selected),
        CommandBody::Close => ("CLOSE", When::Selected),
        CommandBody::Unselect => ("UNSELECT", When::Selected),
        CommandBody::Expunge(_) => ("EXPUNGE", When::Selected),
        CommandBody::Search(_) => ("SEARCH", When::Selected),
        CommandBody::Fetch(_) => ("FETCH", When::Selected),
        CommandBody::Store(_) => ("STORE", When::Selected),
        CommandBody::Copy(_) => ("COPY", When::Selected),
        CommandBody::Move(_) => ("MOVE", When::Selected),
        CommandBody::SetAcl { .. } => ("SETACL", When::AfterLogin),
        CommandBody::DeleteAcl { .. } => ("DELETEACL", When::AfterLogin),
        CommandBody::GetAcl(_) => ("GETACL", When::AfterLogin),
        CommandBody::ListRights { .. } => ("LISTRIGHTS", When::AfterLogin),
        CommandBody::MyRights(_) => ("MYRIGHTS", When::AfterLogin),
        CommandBody::GetQuota(_) => ("GETQUOTA", When::AfterLogin),
        CommandBody::GetQuotaRoot(_) => ("GETQUOTAROOT", When::AfterLogin),
        CommandBody::SetQuota { .. } => ("SETQUOTA", When::AfterLogin),
    }
}
