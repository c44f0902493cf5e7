// What UCX is asked to do with a transfer, and how it says that it is over.
#include <fmt/format.h>

#include <cstring>
#include <utility>

#include "transports/ucx/ucx_impl.hpp"

namespace libcoll::xport::ucx {

namespace {
constexpr char padding[16] = {};
static_assert(sizeof(Entry::Piece) == sizeof(ucp_dt_iov_t) && offsetof(Entry::Piece, bytes) == offsetof(ucp_dt_iov_t, length));
}  // namespace

bool UcxMessenger::start_send(Entry* e) {
  Peer& p = peer(e->peer);
  e->header.arrived = p.messages_arrived;
  e->starting = true;
  if (e->kind == Entry::Kind::sending) ++p.sent;
  const bool in_one_piece = worker_.may_copy() && e->bytes <= Room::small_max && p.linked() && p.room.surely();
  p.room.started(e->bytes, worker_.may_wait_to_be_asked(e->bytes));
  const auto r = in_one_piece ? send_in_one_piece(p, e) : send_in_pieces(p, e);
  if (UCS_PTR_IS_ERR(r) && e->kind == Entry::Kind::sending) --p.sent;
  started(e, r);
  return !UCS_PTR_IS_ERR(r);
}

void UcxMessenger::expect_end(ucp_request_param_t& param, Entry* e) {
  param.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_MEMORY_TYPE;
  param.user_data = e;
  param.memory_type = UCS_MEMORY_TYPE_HOST;
}

// The data behind the header, which UCX copies to where it writes its own and passes on with `send`. Header and data apart, which
// it doesn't copy, are three pieces for `sendmsg`, which takes 0.3 us longer.
ucs_status_ptr_t UcxMessenger::send_in_one_piece(Peer& p, Entry* e) {
  ucp_request_param_t param{};
  expect_end(param, e);
  param.cb.send = on_sent;
  param.op_attr_mask |= UCP_OP_ATTR_FIELD_FLAGS | UCP_OP_ATTR_FIELD_DATATYPE;
  param.flags = UCP_AM_SEND_FLAG_EAGER;
  param.datatype = ucp_dt_make_iov();  // of no pieces: UCX 1.13 copies it whatever ZCOPY_THRESH says
  std::memcpy(piece_, &e->header, sizeof e->header);
  if (e->bytes != 0) std::memcpy(static_cast<std::byte*>(piece_) + sizeof e->header, e->data, e->bytes);
  const auto r = ucp_am_send_nbx(p.ep, message_id, piece_, sizeof e->header + e->bytes, e->pieces.data(), 0, &param);
  // It couldn't be sent at once: UCX needs the piece until it is.
  if (UCS_PTR_IS_PTR(r)) e->piece = std::exchange(piece_, payloads_.take(piece_bytes));
  return r;
}

ucs_status_ptr_t UcxMessenger::send_in_pieces(Peer& p, Entry* e) {
  ucp_request_param_t param{};
  expect_end(param, e);
  param.cb.send = on_sent;
  if (worker_.eager_max() != 0) {
    param.op_attr_mask |= UCP_OP_ATTR_FIELD_FLAGS;
    param.flags = e->bytes <= worker_.eager_max() ? UCP_AM_SEND_FLAG_EAGER : UCP_AM_SEND_FLAG_RNDV;
  }
  e->header.padding = static_cast<std::uint8_t>(worker_.padding_for(e->data, e->bytes));
  const void* payload = e->bytes == 0 ? padding : e->data;
  std::size_t count = e->bytes == 0 ? e->header.padding : e->bytes;
  if (e->bytes != 0 && e->header.padding != 0) {
    e->pieces = {{{padding, e->header.padding}, {e->data, e->bytes}}};
    param.op_attr_mask |= UCP_OP_ATTR_FIELD_DATATYPE;
    param.datatype = ucp_dt_make_iov();
    payload = e->pieces.data();
    count = e->pieces.size();
  }
  return ucp_am_send_nbx(p.ep, message_id, &e->header, sizeof e->header, payload, count, &param);
}

void UcxMessenger::start_rendezvous(Entry* e, void* descriptor) {
  ucp_request_param_t param{};
  expect_end(param, e);
  param.cb.recv_am = on_received;
  e->kind = Entry::Kind::receiving;
  e->starting = true;
  started(e, ucp_am_recv_data_nbx(worker_.get(), descriptor, e->data, e->bytes, &param));
}

void UcxMessenger::started(Entry* e, ucs_status_ptr_t result) {
  e->starting = false;
  if (result == nullptr) return ended(e, UCS_OK);
  if (UCS_PTR_IS_ERR(result)) return ended(e, UCS_PTR_STATUS(result));
  if (e->ended_early) {
    ucp_request_free(result);
    return ended(e, static_cast<ucs_status_t>(e->status));
  }
  e->left = nullptr;
  e->right = in_flight_;
  if (in_flight_ != nullptr) in_flight_->left = e;
  in_flight_ = e;
}

void UcxMessenger::ended(Entry* e, ucs_status_t status) {
  if (e->kind == Entry::Kind::sending && worker_.may_wait_to_be_asked(e->bytes)) peer(e->peer).room.ended_asked_for();
  if (e->kind == Entry::Kind::control && e->header.kind == Header::linked && status == UCS_OK) {
    peer(e->peer).told = true;
    look_for_link(peer(e->peer));
  }
  if (status == UCS_OK) return complete(e);
  const Peer& p = peer(e->peer);
  finish(e, p.why.empty() ? fmt::format("rank {}: the connection failed: {}", e->peer, ucs_status_string(status)) : p.why);
}

void UcxMessenger::on_sent(void* request, ucs_status_t status, void* entry) {
  auto* const e = static_cast<Entry*>(entry);
  if (e->starting) {  // started() sees to the rest
    e->ended_early = true;
    e->status = status;
    return;
  }
  ucp_request_free(request);
  auto* const self = static_cast<UcxMessenger*>(e->owner);
  if (e->left != nullptr) e->left->right = e->right;
  else self->in_flight_ = e->right;
  if (e->right != nullptr) e->right->left = e->left;
  self->ended(e, status);
}

void UcxMessenger::on_received(void* request, ucs_status_t status, std::size_t, void* entry) { on_sent(request, status, entry); }

}  // namespace libcoll::xport::ucx
