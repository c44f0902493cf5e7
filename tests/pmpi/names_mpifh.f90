program names_mpifh
  implicit none
  include 'mpif.h'
  integer, allocatable :: types(:)
  include 'names.inc'
end program names_mpifh
