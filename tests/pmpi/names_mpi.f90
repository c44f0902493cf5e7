program names_mpi
  use mpi
  implicit none
  integer, allocatable :: types(:)
  include 'names.inc'
end program names_mpi
