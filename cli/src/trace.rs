//! What a call brings about is a part of its caller's trace: a pipeline says which one in the variable
//! `TRACEPARENT`, or it is one that begins here.

use orchestra_client::Client;
use orchestra_program::{Span, SpanKind};

use crate::args::Server;

/// The span of a verb that makes jobs, and a client whose requests belong to it.
pub(crate) fn begin(name: &'static str, server: &Server) -> Tracing {
    let caller = server.caller();
    let span = Span::begin(name, SpanKind::Client, caller.as_ref());
    let parent = span.parent().or(caller).map(|parent| parent.to_string());
    Tracing { span, parent }
}

#[derive(Debug)]
pub(crate) struct Tracing {
    span: Span,
    parent: Option<String>,
}

impl Tracing {
    pub(crate) fn client(&self, client: Client) -> Client {
        match &self.parent {
            Some(parent) => client.with_trace(parent),
            None => client,
        }
    }

    pub(crate) fn exits(mut self, code: u8) {
        self.span.set("process.exit.code", &code);
        if code != 0 {
            self.span.fail(&format_args!("exit code {code}"));
        }
    }
}
