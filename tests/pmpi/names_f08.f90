program names_f08
  use mpi_f08
  implicit none
  include 'names.inc'
end program names_f08
