//! The only way to add a route: together with its access rule.

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
    /// Whether it is for people with a browser, not for programs.
    is_page: bool,
    handler: MethodRouter<Arc<Service>>,
}

macro_rules! methods {
    ($($name:ident: $method:ident),+) => {
        $(pub(in crate::http) fn $name<H, T>(self, path: &'static str, rule: Rule, handler: H) -> Self
        where
            H: Handler<T, Arc<Service>>,
            T: 'static,
        {
            self.add(Method::$method, path, rule, false, routing::$name(handler))
        })+
    };
}

impl Routes {
    methods!(get: GET, post: POST, put: PUT, patch: PATCH, delete: DELETE);

    /// A page, or an asset of the pages. Clients without a token are redirected to the sign-in.
    pub(in crate::http) fn page<H, T>(self, path: &'static str, rule: Rule, handler: H) -> Self
    where
        H: Handler<T, Arc<Service>>,
        T: 'static,
    {
        self.add(Method::GET, path, rule, true, routing::get(handler))
    }

    /// The target of a page's form.
    pub(in crate::http) fn form<H, T>(self, path: &'static str, rule: Rule, handler: H) -> Self
    where
        H: Handler<T, Arc<Service>>,
        T: 'static,
    {
        self.add(Method::POST, path, rule, true, routing::post(handler))
    }

    fn add(
        mut self,
        method: Method,
        path: &'static str,
        rule: Rule,
        is_page: bool,
        handler: MethodRouter<Arc<Service>>,
    ) -> Self {
        self.0.push(Route { method, path, rule, is_page, handler });
        self
    }

    pub(in crate::http) fn merge(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// The router, with an access check on each route.
    pub(in crate::http) fn guarded(
        self,
        service: &Arc<Service>,
        access: &Access,
    ) -> Router<Arc<Service>> {
        self.0.into_iter().fold(Router::new(), |router, route| {
            let Route { path, rule, is_page, handler, .. } = route;
            let gate = Gate { service: service.clone(), open: access.open, rule, is_page };
            let handler = handler.route_layer(middleware::from_fn_with_state(gate, admit));
            router.route(path, handler)
        })
    }

    /// The routes of the pages, or those of the API.
    pub(in crate::http) fn listed(&self, pages: bool) -> Vec<(Method, &'static str, Rule)> {
        let wanted = self.0.iter().filter(|route| route.is_page == pages);
        wanted.map(|route| (route.method.clone(), route.path, route.rule)).collect()
    }
}
