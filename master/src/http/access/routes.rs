//! The only way to add a route: with the rule that says whom it is for.

use std::sync::Arc;

use axum::{
    Router,
    handler::Handler,
    http::Method,
    middleware,
    routing::{self, MethodRouter},
};

use super::{
    Access, Rule,
    admit::{Gate, admit},
};
use crate::service::Service;

#[derive(Default)]
pub(in crate::http) struct Routes(Vec<Route>);

struct Route {
    method: Method,
    path: &'static str,
    rule: Rule,
    handler: MethodRouter<Arc<Service>>,
}

macro_rules! methods {
    ($($name:ident: $method:ident),+) => {
        $(pub(in crate::http) fn $name<H, T>(self, path: &'static str, rule: Rule, handler: H) -> Self
        where
            H: Handler<T, Arc<Service>>,
            T: 'static,
        {
            self.add(Method::$method, path, rule, routing::$name(handler))
        })+
    };
}

impl Routes {
    methods!(get: GET, post: POST, put: PUT, patch: PATCH, delete: DELETE);

    fn add(
        mut self,
        method: Method,
        path: &'static str,
        rule: Rule,
        handler: MethodRouter<Arc<Service>>,
    ) -> Self {
        self.0.push(Route { method, path, rule, handler });
        self
    }

    pub(in crate::http) fn merge(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Each route behind a gate of its own.
    pub(in crate::http) fn guarded(
        self,
        service: &Arc<Service>,
        access: &Access,
    ) -> Router<Arc<Service>> {
        self.0.into_iter().fold(Router::new(), |router, Route { path, rule, handler, .. }| {
            let gate = Gate { service: service.clone(), open: access.open, rule };
            let handler = handler.route_layer(middleware::from_fn_with_state(gate, admit));
            router.route(path, handler)
        })
    }

    pub(in crate::http) fn listed(&self) -> Vec<(Method, &'static str, Rule)> {
        self.0.iter().map(|route| (route.method.clone(), route.path, route.rule)).collect()
    }
}
