#include "transports/ucx/ucx_messenger.hpp"

namespace libcoll::xport {

bool ucx_available() { return false; }

detail::Result<std::unique_ptr<Messenger>> create_ucx_messenger(Bootstrap&, const UcxOptions&) {
  return detail::failure(Errc::unsupported,
                         "there is no network between hosts: this libcoll was built without UCX (LIBCOLL_WITH_UCX=OFF); "
                         "install libucx-dev and build it with LIBCOLL_WITH_UCX=ON");
}

}  // namespace libcoll::xport
