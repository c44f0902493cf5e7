program names_f08
  use mpi_f08
  implicit none
  type(MPI_Datatype), allocatable :: types(:)
  include 'names.inc'
end program names_f08
