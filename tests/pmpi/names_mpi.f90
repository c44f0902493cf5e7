program names_mpi
  use mpi
  implicit none
  include 'names.inc'
end program names_mpi
