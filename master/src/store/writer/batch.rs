//! The calls of one transaction, sorted by kind, so that each kind takes as few statements as one
//! call would.

use std::mem;

use tokio::sync::oneshot;

use crate::store::{
    ArtifactPiece, LogAppend, Step, StoreError, Tried, UploadPiece,
    connection::Connection,
    verbs::{
        AddSchedule, AddToken, AddWebhook, Apply, ChangeQueue, ChangeSchedule, ClaimBatch, Drain,
        Expire, ForgetUploads, Insert, Needs, Probe, Prune, Redeliver, Register, RemoveSchedule,
        RemoveWebhook, Renew, RevokeToken, Verb,
    },
};

type Reply<V> = oneshot::Sender<Result<<V as Verb>::Answer, StoreError>>;

/// A write, and its caller.
pub(in crate::store) struct Call<V: Verb> {
    pub(in crate::store) verb: V,
    pub(in crate::store) reply: Reply<V>,
}

/// All calls of one kind.
struct Group<V: Verb> {
    verbs: Vec<V>,
    replies: Vec<Reply<V>>,
    answers: Vec<V::Answer>,
}

impl<V: Verb> Default for Group<V> {
    fn default() -> Self {
        Self { verbs: Vec::new(), replies: Vec::new(), answers: Vec::new() }
    }
}

impl<V: Verb> Group<V> {
    fn push(&mut self, call: Call<V>) {
        self.verbs.push(call.verb);
        self.replies.push(call.reply);
    }

    /// Fails the calls that do not pass.
    fn keep(&mut self, error: &StoreError, mut passes: impl FnMut(&V) -> bool) {
        let calls = mem::take(self).into_calls();
        for call in calls {
            if passes(&call.verb) {
                self.push(call);
            } else {
                let _ = call.reply.send(Err(error.clone()));
            }
        }
    }

    async fn run(&mut self, connection: &mut Connection) -> Result<(), StoreError> {
        if !self.verbs.is_empty() {
            self.answers = V::run(connection, &self.verbs).await?;
        }
        Ok(())
    }

    // Whoever has stopped waiting meanwhile gets no answer; that is all right.
    fn answer(self) {
        for (reply, answer) in self.replies.into_iter().zip(self.answers) {
            let _ = reply.send(Ok(answer));
        }
    }

    fn fail(self, error: &StoreError) {
        for reply in self.replies {
            let _ = reply.send(Err(error.clone()));
        }
    }

    fn into_calls(self) -> impl Iterator<Item = Call<V>> {
        self.verbs.into_iter().zip(self.replies).map(|(verb, reply)| Call { verb, reply })
    }
}

/// The kinds, in the order in which a transaction carries them out: an earlier call must not be
/// overtaken by one that usually follows it. A log is stored before its attempt ends, a job
/// inserted before it is claimed.
macro_rules! kinds {
    ($($group:ident: $verb:ident),+ $(,)?) => {
        /// One call of any kind.
        pub(in crate::store) enum Request {
            $($verb(Call<$verb>),)+
        }

        $(impl From<Call<$verb>> for Request {
            fn from(call: Call<$verb>) -> Self {
                Self::$verb(call)
            }
        })+

        impl Request {
            pub(in crate::store) fn weight(&self) -> usize {
                match self { $(Self::$verb(call) => call.verb.weight(),)+ }
            }

            /// Whether the caller is gone.
            pub(in crate::store) fn is_abandoned(&self) -> bool {
                match self { $(Self::$verb(call) => call.reply.is_closed(),)+ }
            }
        }

        /// The calls of one transaction.
        #[derive(Default)]
        pub(in crate::store) struct Batch {
            $($group: Group<$verb>,)+
        }

        impl Batch {
            pub(in crate::store) fn push(&mut self, request: Request) {
                match request { $(Request::$verb(call) => self.$group.push(call),)+ }
            }

            pub(in crate::store) fn len(&self) -> usize {
                0 $(+ self.$group.verbs.len())+
            }

            /// The locks that the batch needs, as far as they are known before.
            pub(in crate::store) fn needs(&self) -> Needs {
                let mut needs = Needs::default();
                $(self.$group.verbs.iter().for_each(|verb| verb.needs(&mut needs));)+
                needs
            }

            pub(in crate::store) async fn run(
                &mut self,
                connection: &mut Connection,
            ) -> Result<(), StoreError> {
                $(self.$group.run(connection).await?;)+
                Ok(())
            }

            /// Answers every caller; only after the commit.
            pub(in crate::store) fn answer(self) {
                $(self.$group.answer();)+
            }

            pub(in crate::store) fn fail(self, error: &StoreError) {
                $(self.$group.fail(error);)+
            }

            pub(in crate::store) fn into_requests(self) -> impl Iterator<Item = Request> {
                std::iter::empty()$(.chain(self.$group.into_calls().map(Request::from)))+
            }
        }
    };
}

kinds! {
    register: Register,
    drains: Drain,
    queues: ChangeQueue,
    webhooks: AddWebhook,
    webhook_removals: RemoveWebhook,
    uploads: UploadPiece,
    inserts: Insert,
    schedules: AddSchedule,
    schedule_changes: ChangeSchedule,
    schedule_removals: RemoveSchedule,
    steps: Step,
    appends: LogAppend,
    pieces: ArtifactPiece,
    forgetting: ForgetUploads,
    renewals: Renew,
    events: Apply,
    expiries: Expire,
    claims: ClaimBatch,
    grants: AddToken,
    revocations: RevokeToken,
    tries: Tried,
    redeliveries: Redeliver,
    prunings: Prune,
    probes: Probe,
}

impl Batch {
    /// Fails the calls that add data to a disk without space. Running attempts go on: reports,
    /// renewals, and output that `fits`. Files wait.
    pub(in crate::store) fn hold_back(
        &mut self,
        error: &StoreError,
        fits: impl FnMut(&LogAppend) -> bool,
    ) {
        self.inserts.keep(error, |_| false);
        self.schedules.keep(error, |_| false);
        self.steps.keep(error, |step| step.begin.is_none());
        for claims in &mut self.claims.verbs {
            claims.closed = true;
        }
        self.pieces.keep(error, |_| false);
        self.uploads.keep(error, |_| false);
        self.appends.keep(error, fits);
    }
}
