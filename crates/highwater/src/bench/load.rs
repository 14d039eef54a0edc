//! The workloads, by name; each family has a file of its own.

mod append;
mod claim;
mod conditional;
mod fetch;
mod idle;
mod lmtp;
mod login;
mod mailboxes;
mod mixed;
mod moves;
mod resync;
mod search;
mod store;

use clap::ValueEnum;

use super::Failed;
use super::stage::Stage;
use super::tally::Measured;

/// What can be measured.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Workload {
    /// connect, LOGIN and LOGOUT, one after another
    Login,
    /// APPEND by several clients, each to a mailbox of its own
    AppendOwn,
    /// APPEND by several clients to one mailbox
    AppendOne,
    /// fill the large mailbox by MULTIAPPEND, or by APPENDs in a pipeline
    Fill,
    /// SELECT the large mailbox, which was selected before
    Select,
    /// STATUS of the large mailbox
    Status,
    /// UID FETCH 1:* (FLAGS) of the large mailbox
    FetchFlags,
    /// UID FETCH 1:* (UID FLAGS MODSEQ) of the large mailbox
    FetchModseq,
    /// FETCH 1:* (ENVELOPE BODYSTRUCTURE RFC822.SIZE INTERNALDATE) of a middle mailbox, the first time
    EnvelopeFirst,
    /// the same once more
    EnvelopeAgain,
    /// FETCH BODY.PEEK[] of messages of 30 KiB, one after another
    Body,
    /// FETCH BODY.PEEK[] of messages of 30 KiB, many by one command
    BodyStream,
    /// UID FETCH 1:* (FLAGS) (CHANGEDSINCE …) of the large mailbox, in which 10 were changed
    Changedsince,
    /// SELECT (QRESYNC …) of the large mailbox, in which 10 were changed and 10 expunged
    Resync,
    /// conditional STORE by one client
    Conditional,
    /// conditional STORE by several clients, each in a mailbox of its own
    ConditionalOwn,
    /// conditional STORE by several clients in one mailbox, each on a message of its own
    ConditionalOne,
    /// STORE 1:* +FLAGS.SILENT of the middle mailbox
    StoreAdd,
    /// STORE 1:* -FLAGS of the middle mailbox
    StoreRemove,
    /// 16 workers claim messages by conditional STORE
    Claim,
    /// connections that idle on one mailbox, their memory
    Idle,
    /// a STORE, until the last of those has heard of it
    IdleStore,
    /// an APPEND, until the last of those has heard of it
    IdleAppend,
    /// SEARCH UNSEEN in the middle mailbox
    SearchUnseen,
    /// SEARCH MODSEQ in the middle mailbox, which finds 10
    SearchModseq,
    /// SEARCH SINCE in the middle mailbox
    SearchSince,
    /// SEARCH SUBJECT in the middle mailbox, not for the first time
    SearchSubject,
    /// SEARCH BODY in the middle mailbox, not for the first time
    SearchBody,
    /// SEARCH TEXT in the middle mailbox, not for the first time
    SearchText,
    /// COPY 1:* of the middle mailbox
    Copy,
    /// MOVE 1:* of as many
    Move,
    /// EXPUNGE of as many
    Expunge,
    /// CREATE of many mailboxes
    Create,
    /// LIST of those
    List,
    /// LIST RETURN (STATUS …) of those
    ListStatus,
    /// delivery by LMTP by several clients, each to a user of its own
    Lmtp,
    /// 100 STOREs of one client in one go
    Pipeline,
    /// SELECT, FETCH, STORE, APPEND, SEARCH, STATUS by several clients in mailboxes of their own
    Mixed,
}

impl Workload {
    /// Its name on the command line.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// What it does.
    pub(super) fn about(self) -> String {
        let value = self.to_possible_value();
        value.and_then(|value| value.get_help().map(ToString::to_string)).unwrap_or_default()
    }

    /// What the figures are of.
    pub(super) fn thing(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::AppendOwn
            | Self::AppendOne
            | Self::Fill
            | Self::FetchFlags
            | Self::FetchModseq
            | Self::EnvelopeFirst
            | Self::EnvelopeAgain
            | Self::Body
            | Self::BodyStream
            | Self::StoreAdd
            | Self::StoreRemove
            | Self::Copy
            | Self::Move
            | Self::Expunge
            | Self::Lmtp => "message",
            Self::Claim => "claim",
            Self::Idle => "connection",
            Self::IdleStore | Self::IdleAppend => "notice to all",
            Self::Create | Self::List | Self::ListStatus => "mailbox",
            Self::Pipeline => "100 STOREs",
            Self::Mixed => "operation",
            _ => "command",
        }
    }
}

/// Does it once.
pub(super) async fn run(stage: &mut Stage, workload: Workload) -> Result<Measured, Failed> {
    if !matches!(workload, Workload::IdleStore | Workload::IdleAppend) {
        stage.idlers.clear();
    }
    match workload {
        Workload::Login => login::login(stage).await,
        Workload::AppendOwn => append::own(stage).await,
        Workload::AppendOne => append::one(stage).await,
        Workload::Fill => append::fill(stage).await,
        Workload::Select => resync::select(stage).await,
        Workload::Status => resync::status(stage).await,
        Workload::FetchFlags => fetch::flags(stage, false).await,
        Workload::FetchModseq => fetch::flags(stage, true).await,
        Workload::EnvelopeFirst => fetch::envelope_first(stage).await,
        Workload::EnvelopeAgain => fetch::envelope_again(stage).await,
        Workload::Body => fetch::bodies(stage, false).await,
        Workload::BodyStream => fetch::bodies(stage, true).await,
        Workload::Changedsince => resync::changed_since(stage).await,
        Workload::Resync => resync::resync(stage).await,
        Workload::Conditional => conditional::run(stage, 1, false).await,
        Workload::ConditionalOwn => conditional::run(stage, stage.plan.clients, false).await,
        Workload::ConditionalOne => conditional::run(stage, stage.plan.clients, true).await,
        Workload::StoreAdd => store::all(stage, true).await,
        Workload::StoreRemove => store::all(stage, false).await,
        Workload::Claim => claim::run(stage).await,
        Workload::Idle => idle::connections(stage).await,
        Workload::IdleStore => idle::notices(stage, false).await,
        Workload::IdleAppend => idle::notices(stage, true).await,
        Workload::SearchUnseen => search::unseen(stage).await,
        Workload::SearchModseq => search::mod_seq(stage).await,
        Workload::SearchSince => search::since(stage).await,
        Workload::SearchSubject => search::text(stage, search::Where::Subject).await,
        Workload::SearchBody => search::text(stage, search::Where::Body).await,
        Workload::SearchText => search::text(stage, search::Where::Text).await,
        Workload::Copy => moves::run(stage, moves::How::Copy).await,
        Workload::Move => moves::run(stage, moves::How::Move).await,
        Workload::Expunge => moves::run(stage, moves::How::Expunge).await,
        Workload::Create => mailboxes::run(stage, mailboxes::What::Create).await,
        Workload::List => mailboxes::run(stage, mailboxes::What::List).await,
        Workload::ListStatus => mailboxes::run(stage, mailboxes::What::ListStatus).await,
        Workload::Lmtp => lmtp::run(stage).await,
        Workload::Pipeline => store::pipeline(stage).await,
        Workload::Mixed => mixed::run(stage).await,
    }
}
