//! AUTHENTICATE (RFC 3501 §6.2.2) with an initial response (RFC 4959).

use crate::account::{Exchange, Identity, Step};
use crate::refusal::{Refusal, Stop};
use crate::session::{Mode, Next, Reply, Sasl, Session};
use crate::shared::{Closed, Event, Sink};
use imap::command::{Secret, Tag};
use imap::encode;
use imap::parse::{SaslAnswer, sasl_response};

const NAME: &str = "AUTHENTICATE";

impl Session {
    /// Begins an exchange.
    pub(crate) async fn authenticate<S: Sink>(
        &mut self,
        tag: Tag,
        mechanism: &str,
        initial: Option<&Secret>,
        sink: &mut S,
    ) -> Result<Next, Closed> {
        let offered = self.shared.authenticator.mechanisms(&self.peer).contains(&mechanism);
        let begun =
            if offered { self.shared.authenticator.begin(&self.peer, mechanism) } else { None };
        let Some(mut exchange) = begun else {
            let text = format!("{mechanism} is not among the mechanisms that CAPABILITY lists");
            return self.finish_now(&tag, NAME, Err(Refusal::no(text).into()), sink).await;
        };
        let step = exchange.step(initial.map(|secret| secret.0.as_slice())).await;
        self.sasl_step(tag, exchange, step, sink).await
    }

    /// Takes the client's next answer.
    pub(crate) async fn sasl_answer<S: Sink>(
        &mut self,
        sasl: Sasl,
        line: &[u8],
        sink: &mut S,
    ) -> Result<Next, Closed> {
        let Sasl { tag, mut exchange, proven } = sasl;
        let answer = match sasl_response(line) {
            Ok(SaslAnswer::Data(answer)) => answer,
            Ok(SaslAnswer::Cancel) => {
                let refusal = Refusal::bad("Cancelled by the client");
                return self.finish_now(&tag, NAME, Err(refusal.into()), sink).await;
            }
            Err(error) => {
                let refusal = Refusal::bad(error.to_string());
                return self.finish_now(&tag, NAME, Err(refusal.into()), sink).await;
            }
        };
        if let Some(identity) = proven {
            let result = if answer.0.is_empty() {
                self.enter(identity).await
            } else {
                Err(Refusal::bad("expected an empty answer to the mechanism's last words").into())
            };
            return self.finish_now(&tag, NAME, result, sink).await;
        }
        let step = exchange.step(Some(&answer.0)).await;
        self.sasl_step(tag, exchange, step, sink).await
    }

    async fn sasl_step<S: Sink>(
        &mut self,
        tag: Tag,
        exchange: Box<dyn Exchange>,
        step: Step,
        sink: &mut S,
    ) -> Result<Next, Closed> {
        let result: Result<Reply, Stop> = match step {
            Step::Challenge(challenge) => {
                return Ok(self.challenge(tag, exchange, &challenge, None, sink));
            }
            Step::Done { identity, last: Some(last) } => {
                return Ok(self.challenge(tag, exchange, &last, Some(identity), sink));
            }
            Step::Done { identity, last: None } => self.enter(identity).await,
            Step::Failed(failure) => {
                self.shared.observer.count(Event::LoginFailed);
                Err(Refusal::from(failure).into())
            }
        };
        self.finish_now(&tag, NAME, result, sink).await
    }

    fn challenge<S: Sink>(
        &mut self,
        tag: Tag,
        exchange: Box<dyn Exchange>,
        challenge: &[u8],
        proven: Option<Identity>,
        sink: &mut S,
    ) -> Next {
        encode::continuation_base64(sink.buffer(), challenge);
        self.framer.expect_line();
        self.mode = Mode::Sasl(Sasl { tag, exchange, proven });
        Next::Read
    }
}
