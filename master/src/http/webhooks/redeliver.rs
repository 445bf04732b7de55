//! `POST /api/webhook/{id}/deliveries/{delivery}/retry`

use std::sync::Arc;

use axum::extract::State;
use orchestra_contracts::Delivery;

use crate::{
    http::{
        error::ApiError,
        extract::{DeliveryPath, Json, NoQuery},
    },
    service::Service,
};

pub(super) async fn handler(
    State(service): State<Arc<Service>>,
    DeliveryPath(webhook, delivery): DeliveryPath,
    _: NoQuery,
) -> Result<Json<Delivery>, ApiError> {
    Ok(Json(service.redeliver(webhook, delivery).await?))
}
